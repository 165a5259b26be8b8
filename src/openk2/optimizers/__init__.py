"""MuonClip (paper section 2.1): the planned rule of every parameter, Muon, AdamW and QK-Clip."""

from openk2.optimizers.clip_targets import (
    AttentionClipTarget,
    find_clip_targets,
    fused_head_matrices,
    fused_query_key_value_rows,
    norm_gain_rows,
    query_key_rows,
)
from openk2.optimizers.coefficients import COEFFICIENTS, coefficients, singular_value_range
from openk2.optimizers.muon_clip import MuonClipOptimizer
from openk2.optimizers.newton_schulz import newton_schulz
from openk2.optimizers.optimizer_state import check_state_dict
from openk2.optimizers.param_plan import ParameterRule, plan_parameters
from openk2.optimizers.plan_table import format_plan
from openk2.optimizers.qk_clip import QKClip, clip_factors, gather_max_logits
from openk2.optimizers.schedules import warmup_stable_decay

__all__ = [
    "MuonClipOptimizer",
    "QKClip",
    "AttentionClipTarget",
    "query_key_rows",
    "fused_query_key_value_rows",
    "fused_head_matrices",
    "norm_gain_rows",
    "find_clip_targets",
    "ParameterRule",
    "plan_parameters",
    "format_plan",
    "check_state_dict",
    "newton_schulz",
    "COEFFICIENTS",
    "coefficients",
    "singular_value_range",
    "gather_max_logits",
    "clip_factors",
    "warmup_stable_decay",
]
