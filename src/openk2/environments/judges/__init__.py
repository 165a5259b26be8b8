"""Judging by rubric through a model, so that neither side can cheat (paper section 3.2.2)."""

from openk2.environments.judges.asking import JudgeOptions
from openk2.environments.judges.calibration import (
    MASTER_KEYS,
    Calibration,
    LabelledPair,
    Probe,
    calibrate,
    calibration_of,
    probe,
)
from openk2.environments.judges.pairwise import PairwiseJudge, Verdict
from openk2.environments.judges.pointwise import PointwiseJudge
from openk2.environments.judges.rubric import (
    CORE_RUBRIC,
    K2_RUBRIC,
    PRESCRIPTIVE_RUBRIC,
    Criterion,
    Rubric,
)
from openk2.environments.judges.sanitize import Sanitized, has_substance, sanitize

__all__ = [
    "CORE_RUBRIC",
    "K2_RUBRIC",
    "MASTER_KEYS",
    "PRESCRIPTIVE_RUBRIC",
    "Calibration",
    "Criterion",
    "JudgeOptions",
    "LabelledPair",
    "PairwiseJudge",
    "PointwiseJudge",
    "Probe",
    "Rubric",
    "Sanitized",
    "Verdict",
    "calibrate",
    "calibration_of",
    "has_substance",
    "probe",
    "sanitize",
]
