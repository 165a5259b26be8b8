"""The data layer: documents in, tokenizer and token shards on disk, batches by number out."""

from openk2.data.compressors import compressed_bits_per_byte
from openk2.data.corpus import Corpus, load_corpus, prepare_corpus
from openk2.data.documents import Document, ReadReport, read_documents
from openk2.data.embedded import embedded_documents, embedded_source
from openk2.data.loader import PackedBatches, ValidationBatches
from openk2.data.packing import NO_TARGET, Batch
from openk2.data.shards import TokenShards, build_shards

__all__ = [
    "Batch",
    "Corpus",
    "Document",
    "NO_TARGET",
    "PackedBatches",
    "ReadReport",
    "TokenShards",
    "ValidationBatches",
    "build_shards",
    "compressed_bits_per_byte",
    "embedded_documents",
    "embedded_source",
    "load_corpus",
    "prepare_corpus",
    "read_documents",
]
