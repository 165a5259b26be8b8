"""MuonClip (paper section 2.1): the planned rule of every parameter, Muon, AdamW and QK-Clip."""

from openk2.optimizers.max_logits import gather_max_logits
from openk2.optimizers.muon_clip import MuonClipOptimizer
from openk2.optimizers.newton_schulz import newton_schulz
from openk2.optimizers.param_plan import ParameterRule, format_plan, plan_parameters
from openk2.optimizers.qk_clip import apply_clip_factors, clip_factors
from openk2.optimizers.schedules import warmup_stable_decay

__all__ = [
    "MuonClipOptimizer",
    "ParameterRule",
    "plan_parameters",
    "format_plan",
    "newton_schulz",
    "gather_max_logits",
    "clip_factors",
    "apply_clip_factors",
    "warmup_stable_decay",
]
