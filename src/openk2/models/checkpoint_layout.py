"""The official checkpoint layout: the released tensor names, safetensors files, config.json.

The released models keep one tensor per expert; here the experts of a layer are stacked. This is the
only place that knows both. Reading is strict: a missing, extra or misshapen tensor is an error.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from openk2.core.errors import UserError
from openk2.models.k2_moe import KimiK2MoEModel

__all__ = ["official_tensors", "read_weights", "write_weights"]

SHARD_BYTES = 5 * 10**9  # the size of the files of a large checkpoint


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
    config["dtype"] = config["torch_dtype"] = str(dtype or torch.float32).removeprefix("torch.")
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    shards: list[dict[str, Tensor]] = [{}]
    size = total = 0
    for name, tensor in official_tensors(model):
        if dtype is not None and not name.endswith("e_score_correction_bias"):
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
        save_file(shards[0], folder / "model.safetensors", metadata={"format": "pt"})
        return
    weight_map: dict[str, str] = {}
    for number, shard in enumerate(shards, start=1):
        file = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        save_file(shard, folder / file, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(shard, file)
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n")


@torch.no_grad()
def read_weights(model: KimiK2MoEModel, folder: Path) -> None:
    """Fill `model` from a checkpoint folder, checking every tensor before the first is copied.

    Raises UserError naming the tensor that is missing, not expected, or of another shape.
    """
    files = _files(folder)
    targets = dict(official_tensors(model))
    found: dict[str, tuple[Path, list[int]]] = {}
    for file in files:
        try:
            with safe_open(file, framework="pt") as reader:
                names = reader.keys()
                found |= {name: (file, reader.get_slice(name).get_shape()) for name in names}
        except (SafetensorError, OSError) as error:
            raise UserError(f"{file}: not a readable safetensors file: {error}") from None
    # The released kimi_k2 files carry a frequency table per layer, which rotary_turns computes.
    found = {
        name: where for name, where in found.items() if not name.endswith("rotary_emb.inv_freq")
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
            names = sorted(set(json.loads(index.read_text())["weight_map"].values()))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise UserError(f"{index}: not a safetensors index") from None
        files = [folder / Path(name).name for name in names]
    else:
        files = [folder / "model.safetensors"]
    for file in files:
        if not file.exists():
            raise UserError(f"{file}: no such file; the checkpoint is incomplete")
    return files


def _check(
    targets: dict[str, Tensor], found: dict[str, tuple[Path, list[int]]], folder: Path
) -> None:
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
        file, shape = found[name]
        if list(target.shape) != shape:
            raise UserError(
                f"{file}: tensor '{name}' has shape {shape}, config.json makes it "
                f"{list(target.shape)}"
            )
