"""The official checkpoint layout: the released tensor names, safetensors files, config.json.

The released models keep one tensor per expert; here the experts of a layer are stacked. This is the
only place that knows both. Reading is strict: a missing, extra or misshapen tensor is an error, and
so is one of another type than 16- or 32-bit floats.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from openk2.core.errors import UserError
from openk2.models.k2_moe import KimiK2MoEModel

__all__ = ["official_tensors", "read_weights", "write_weights"]

SHARD_BYTES = 5 * 10**9  # the size of the files of a large checkpoint
BIAS = "e_score_correction_bias"
# Other types hold packed or scaled numbers, which a plain copy would turn into nonsense.
READABLE = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}


def official_tensors(model: KimiK2MoEModel) -> Iterator[tuple[str, Tensor]]:
    """(released name, tensor) for all the model's weights; experts as views of their stack."""
    for name, tensor in model.state_dict().items():
        prefix = "" if name.startswith("lm_head.") else "model."
        if ".mlp.experts." in name:
            layer, matrix = name.split(".mlp.experts.")
            for index, expert in enumerate(tensor):
                yield f"{prefix}{layer}.mlp.experts.{index}.{matrix}.weight", expert
        else:
            yield prefix + name, tensor


def write_weights(model: KimiK2MoEModel, folder: Path, dtype: torch.dtype | None = None) -> None:
    """Write config.json and model.safetensors (or numbered shards with their index) to `folder`.

    `dtype` converts the weights; the router's selection bias stays in float32, as released.
    """
    config = model.config.to_hf()
    label = str(dtype or model.lm_head.weight.dtype).removeprefix("torch.")
    config["dtype"] = config["torch_dtype"] = label
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    shards: list[dict[str, Tensor]] = [{}]
    size = total = 0
    for name, tensor in official_tensors(model):
        if dtype is not None and not name.endswith(BIAS):
            tensor = tensor.to(dtype)
        tensor = tensor.detach().cpu().contiguous()
        if size and size + tensor.nbytes > SHARD_BYTES:
            shards.append({})
            size = 0
        # An expert is a view into its stack, and safetensors refuses tensors that share storage.
        shards[-1][name] = (
            tensor.clone() if tensor.nbytes < tensor.untyped_storage().nbytes() else tensor
        )
        size += tensor.nbytes
        total += tensor.nbytes
    if len(shards) == 1:
        _save(shards[0], folder / "model.safetensors")
        return
    weight_map: dict[str, str] = {}
    for number, shard in enumerate(shards, start=1):
        file = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        _save(shard, folder / file)
        weight_map |= dict.fromkeys(shard, file)
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n")


def _save(tensors: dict[str, Tensor], file: Path) -> None:
    save_file(tensors, file, metadata={"format": "pt"})
    # save_file lets only the owner read; config.json beside it has the mode that files get here.
    shutil.copymode(file.with_name("config.json"), file)


class _Stored(NamedTuple):
    """A tensor as a file's header describes it."""

    file: Path
    shape: list[int]
    dtype: str


@torch.no_grad()
def read_weights(model: KimiK2MoEModel, folder: Path) -> None:
    """Fill `model` from a checkpoint folder, checking every tensor before the first is copied.

    Raises UserError naming the tensor that is missing, not expected, or of another shape or type.
    """
    files = _files(folder)
    targets = dict(official_tensors(model))
    found: dict[str, _Stored] = {}
    for file in files:
        try:
            with safe_open(file, framework="pt") as reader:
                names = reader.keys()
                headers = {name: reader.get_slice(name) for name in names}
                for name, header in headers.items():
                    found[name] = _Stored(file, header.get_shape(), header.get_dtype())
        except (SafetensorError, OSError) as error:
            raise UserError(f"{file}: not a readable safetensors file: {error}") from None
    # The released kimi_k2 files carry a frequency table per layer, which rotary_turns computes.
    found = {
        name: stored for name, stored in found.items() if not name.endswith("rotary_emb.inv_freq")
    }
    _check(targets, found, folder)
    for file in files:
        with safe_open(file, framework="pt") as reader:
            for name in targets.keys() & set(reader.keys()):
                targets[name].copy_(reader.get_tensor(name))


def _files(folder: Path) -> list[Path]:
    index = folder / "model.safetensors.index.json"
    if index.exists():
        try:
            weight_map = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
            names = sorted({Path(name).name for name in weight_map.values()})
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise UserError(f"{index}: not a safetensors index") from None
        files = [folder / name for name in names]
    else:
        files = [folder / "model.safetensors"]
    for file in files:
        if not file.exists():
            raise UserError(f"{file}: no such file; the checkpoint is incomplete")
    return files


def _check(targets: dict[str, Tensor], found: dict[str, _Stored], folder: Path) -> None:
    for problem, names in (
        ("lacks tensor", targets.keys() - found.keys()),
        ("has an unexpected tensor", found.keys() - targets.keys()),
    ):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise UserError(
                f"{folder}: the checkpoint {problem} '{min(names)}'{more}; "
                "is its config.json that of another model?"
            )
    for name, target in targets.items():
        file, shape, dtype = found[name]
        if list(target.shape) != shape:
            raise UserError(
                f"{file}: tensor '{name}' has shape {shape}, config.json makes it "
                f"{list(target.shape)}"
            )
        # Eleven bits are too few for the small steps by which the bias moves.
        if dtype not in READABLE or (name.endswith(BIAS) and dtype == "F16"):
            kinds = ", ".join(READABLE.values())
            raise UserError(
                f"{file}: tensor '{name}' has type {READABLE.get(dtype, dtype)}, which is not read "
                f"here; convert it to one of {kinds}"
            )
