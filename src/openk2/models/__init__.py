"""The released K2 architecture (paper section 2.3) and its checkpoint layout."""

from openk2.models.attention import MultiHeadLatentAttention
from openk2.models.config import KimiK2Config, YarnScaling
from openk2.models.documents import PackedDocuments
from openk2.models.k2_moe import KimiK2MoEModel, MixtureOfExperts, TransformerLayer
from openk2.models.layers import FeedForwardExpert
from openk2.models.router import routed_scaling_factor

__all__ = [
    "FeedForwardExpert",
    "KimiK2Config",
    "KimiK2MoEModel",
    "MixtureOfExperts",
    "MultiHeadLatentAttention",
    "PackedDocuments",
    "TransformerLayer",
    "YarnScaling",
    "routed_scaling_factor",
]
