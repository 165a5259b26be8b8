"""Text from a model: the engine, its requests and results."""

from openk2.inference.engine import Engine, EngineStatistics
from openk2.inference.engine_generator import EngineGenerator
from openk2.inference.requests import Generation, GenerationRequest, PausedRequest, Sample, Update

__all__ = [
    "Engine",
    "EngineGenerator",
    "EngineStatistics",
    "Generation",
    "GenerationRequest",
    "PausedRequest",
    "Sample",
    "Update",
]
