"""What a model folder says about itself: architecture, pooling, limits and the name of its vector space.

Reads JSON files and the header of the weights with the standard library only, so that the fingerprint of a
model is known without loading torch or MLX, and so that every backend follows one reading of the same folder.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

from procedural_memory.errors import ModelFormatError, ModelNotFoundError, shown

__all__ = ["DECODERS", "ENCODERS", "ModelFiles", "Tensor", "read_header", "read_model_files"]

ENCODERS: Final = ("bert", "camembert", "roberta", "xlm-roberta")
"""Architectures that the MLX encoder runs."""

DECODERS: Final = ("llama", "mistral", "qwen2", "qwen3")
"""Architectures that embed with their last token."""

MAX_TOKENS: Final = 512
"""No text is read further than this, whatever the model could take: commands are short, memory is not."""

_MAX_HEADER: Final = 100_000_000
_BLOCK: Final = 4096
_BLOCKS: Final = 64

_POOLING_NAMES: Final = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}

Tensor = tuple[str, tuple[int, ...]]
"""Stored type and shape of one tensor."""


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """One model folder, read but not loaded.

    Attributes
    ----------
    folder : Path
    config : mapping
        ``config.json``.
    architecture : str
        Its ``model_type``.
    weights : tuple of Path
        The safetensors files.
    pooling : str
        ``mean``, ``cls``, ``lasttoken``, or another mode of sentence-transformers; several joined by ``+``.
    max_length : int
        Tokens read of a text, special tokens included.
    dimension : int
        Length of a vector.
    lowercase : bool
        Whether texts are lowered before the tokenizer sees them.
    document_prompt, query_prompt : str
        What is put before a text to store and before a text to search with.
    include_prompt : bool
        Whether the tokens of the prompt take part in pooling.
    other_modules : tuple of str
        Modules of sentence-transformers beyond transformer, pooling and normalisation, such as ``Dense``.
    described : bool
        Whether the folder has a ``modules.json``.
    """

    folder: Path
    config: Mapping[str, Any]
    architecture: str
    weights: tuple[Path, ...]
    pooling: str
    max_length: int
    dimension: int
    lowercase: bool = False
    document_prompt: str = ""
    query_prompt: str = ""
    include_prompt: bool = True
    other_modules: tuple[str, ...] = ()
    described: bool = True
    headers: tuple[Mapping[str, Tensor], ...] = field(default=(), repr=False)

    @property
    def is_decoder(self) -> bool:
        """Whether the model embeds with its last token behind a causal mask."""
        return self.architecture in DECODERS

    @property
    def size(self) -> int:
        """Bytes of all weights files."""
        return sum(path.stat().st_size for path in self.weights)

    def fingerprint(self) -> str:
        """Return ``<architecture>-<weights hash>-<pooling>-l<tokens>-d<dimension>``, equal on every backend.

        The hash covers, of every weights file, its size, its whole header (names, types, shapes) and 64
        blocks of 4 kB spread evenly over it: enough to tell any two trained models apart without reading
        gigabytes at every start, not a check against tampering. The number of attention heads and layers,
        the activation, further modules and a document prompt enter too. Rows are always normalised, so that
        is not part of the name; neither is the folder's name, nor the tokenizer.
        """
        digest = blake2b(digest_size=8)
        for path in self.weights:
            _hash_sampled(path, digest)
        says = [self.config.get(key) for key in ("num_hidden_layers", "num_attention_heads", "hidden_act")]
        says += [self.document_prompt, list(self.other_modules), self.lowercase]
        digest.update(json.dumps(says).encode())
        parts = (
            self.architecture,
            digest.hexdigest(),
            self.pooling,
            f"l{self.max_length}",
            f"d{self.dimension}",
        )
        return "-".join(parts)


def read_model_files(
    folder: Path, *, query_prompt: str | None = None, document_prompt: str | None = None
) -> ModelFiles:
    """Read the model in `folder`; every tensor is checked to lie inside its file, none is loaded.

    Files beside ``config.json``, ``tokenizer.json`` and the weights may be missing; then

    - pooling (``modules.json``, ``1_Pooling/config.json``): mean for encoders, last token for decoders;
    - token limit (``sentence_bert_config.json``): the smaller of the tokenizer's ``model_max_length`` and the
      model's ``max_position_embeddings``. It is never more than 512;
    - prompts (``config_sentence_transformers.json``): none.

    Parameters
    ----------
    folder : Path
    query_prompt, document_prompt : str, optional
        Replace those of the folder.

    Raises
    ------
    ModelNotFoundError
        If the folder or a needed file does not exist.
    ModelFormatError
        If a file cannot be read or contradicts another.
    """
    if not folder.is_dir():
        what = "is a file, not a folder" if folder.exists() else "does not exist"
        raise ModelNotFoundError(
            f"model folder {folder} {what}. Give the folder that holds config.json, tokenizer.json and "
            "model.safetensors, or fetch a model: procedural-memory model fetch"
        )
    config = _read_json(folder, "config.json", needed=True)
    architecture = config.get("model_type")
    if not isinstance(architecture, str) or not architecture:
        raise ModelFormatError(f"{folder / 'config.json'}: model_type must be a name, found {shown(architecture)}")
    if not (folder / "tokenizer.json").is_file():
        raise _missing(folder, "tokenizer.json")
    weights = _weights(folder)
    headers = tuple(read_header(path) for path in weights)
    decoder = architecture in DECODERS

    modules = _read_json(folder, "modules.json", kind=list)
    pooling_config: Mapping[str, Any] = {}
    others: list[str] = []
    output: int | None = None
    for module in modules:
        if not isinstance(module, dict) or not isinstance(module.get("type"), str):
            raise ModelFormatError(f"{folder / 'modules.json'}: expected modules with a type, found {shown(module)}")
        kind = module["type"].rpartition(".")[2]
        if kind == "Pooling":
            pooling_config = _read_json(folder, f"{module.get('path')}/config.json", needed=True)
        elif kind not in ("Transformer", "Normalize"):
            others.append(kind)
            output = _read_json(folder, f"{module.get('path')}/config.json").get("out_features", output)
    if not modules:
        pooling_config = _read_json(folder, "1_Pooling/config.json")
    pooling = _pooling(pooling_config, "lasttoken" if decoder else "mean", folder)

    limits = _read_json(folder, "sentence_bert_config.json")
    tokenizer = _read_json(folder, "tokenizer_config.json")
    stated = _read_json(folder, "config_sentence_transformers.json")
    dimension = output or _positive(config, "hidden_size", folder) * (pooling.count("+") + 1)
    prompts = stated.get("prompts") or {}
    if not isinstance(prompts, dict) or not all(isinstance(value, str) for value in prompts.values()):
        raise ModelFormatError(
            f"{folder / 'config_sentence_transformers.json'}: prompts must map names to texts, found {shown(prompts)}"
        )
    default = prompts.get(stated.get("default_prompt_name") or "", "")
    return ModelFiles(
        folder=folder,
        config=config,
        architecture=architecture,
        weights=weights,
        headers=headers,
        pooling=pooling,
        max_length=_max_length(config, limits, tokenizer, folder),
        dimension=dimension,
        lowercase=bool(limits.get("do_lower_case", False)),
        document_prompt=_first_of(document_prompt, prompts, ("document", "passage", "corpus"), default),
        query_prompt=_first_of(query_prompt, prompts, ("query",), default),
        include_prompt=bool(pooling_config.get("include_prompt", True)),
        other_modules=tuple(others),
        described=bool(modules),
    )


def read_header(path: Path) -> Mapping[str, Tensor]:
    """Return type and shape of every tensor in a safetensors file, after checking that the file is whole.

    Raises
    ------
    ModelFormatError
        If the header is no safetensors header, or the file has another size than the header says.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(size - 8, _MAX_HEADER):
            raise ModelFormatError(
                f"{path}: no safetensors file: expected a header inside the file, found {size} bytes in all "
                f"with a header of {length}. It is cut off or something else; fetch the model again"
            )
        raw = file.read(length)
    try:
        header = json.loads(raw)
        tensors: dict[str, Tensor] = {}
        end = 0
        for name, entry in header.items():
            if name == "__metadata__":
                continue
            tensors[name] = (str(entry["dtype"]), tuple(int(n) for n in entry["shape"]))
            end = max(end, int(entry["data_offsets"][1]))
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
        raise ModelFormatError(f"{path}: the safetensors header cannot be read ({error!r})") from None
    if end != size - 8 - length:
        raise ModelFormatError(
            f"{path}: expected {8 + length + end} bytes, found {size}: the file is damaged; fetch the model again"
        )
    return tensors


def _hash_sampled(path: Path, digest: blake2b) -> None:
    size = path.stat().st_size
    with path.open("rb") as file:
        prefix = file.read(8)
        length = int.from_bytes(prefix, "little")
        digest.update(size.to_bytes(8, "little") + prefix + file.read(min(length, _MAX_HEADER)))
        start = 8 + length
        room = max(size - start - _BLOCK, 0)
        for index in range(_BLOCKS):
            file.seek(start + room * index // (_BLOCKS - 1))
            digest.update(file.read(_BLOCK))


def _weights(folder: Path) -> tuple[Path, ...]:
    single = folder / "model.safetensors"
    if single.is_file():
        return (single,)
    index = _read_json(folder, "model.safetensors.index.json")
    if not index:
        raise _missing(folder, "model.safetensors")
    names = index.get("weight_map")
    if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
        raise ModelFormatError(f"{folder / 'model.safetensors.index.json'}: weight_map must map tensors to files")
    shards = sorted(set(names.values()))
    for shard in shards:
        if Path(shard).name != shard:
            raise ModelFormatError(f"{folder / 'model.safetensors.index.json'}: {shown(shard)} is no plain file name")
        if not (folder / shard).is_file():
            raise _missing(folder, shard)
    return tuple(folder / shard for shard in shards)


def _read_json(folder: Path, name: str, needed: bool = False, kind: type = dict) -> Any:
    path = folder / name
    try:
        content = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        if needed:
            raise _missing(folder, name) from None
        return kind()
    except (OSError, ValueError, RecursionError) as error:
        raise ModelFormatError(f"{path}: expected JSON, found something else ({error})") from None
    if not isinstance(content, kind):
        expected = "an object" if kind is dict else "a list"
        raise ModelFormatError(f"{path}: expected {expected}, found {type(content).__name__}")
    return content


def _missing(folder: Path, name: str) -> ModelNotFoundError:
    hint = "fetch the model again (procedural-memory model fetch) or give another folder"
    if name == "model.safetensors" and (folder / "pytorch_model.bin").is_file():
        hint = "pickled weights (pytorch_model.bin) are not read, they may run code; save the model as safetensors"
    return ModelNotFoundError(f"model folder {folder} has no {name}; {hint}")


def _pooling(config: Mapping[str, Any], default: str, folder: Path) -> str:
    given = config.get("pooling_mode")
    modes = [given] if isinstance(given, str) else given
    if modes is None:
        modes = [mode for key, mode in _POOLING_NAMES.items() if config.get(key)] or [default]
    if not isinstance(modes, list) or not modes or not all(mode in _POOLING_NAMES.values() for mode in modes):
        raise ModelFormatError(
            f"{folder}: pooling must be one of {', '.join(_POOLING_NAMES.values())}, found {shown(given)}"
        )
    return "+".join(modes)


def _max_length(
    config: Mapping[str, Any], limits: Mapping[str, Any], tokenizer: Mapping[str, Any], folder: Path
) -> int:
    positions = config.get("max_position_embeddings")
    if isinstance(positions, int) and config.get("model_type") in ("roberta", "camembert", "xlm-roberta"):
        positions -= 1 + int(config.get("pad_token_id") or 0)  # these count positions from the padding id
    stated = limits.get("max_seq_length") or tokenizer.get("model_max_length")
    known = [int(n) for n in (stated, positions) if isinstance(n, int | float) and n == n and n < float("inf")]
    length = min([MAX_TOKENS, *known])
    if length < 2:
        raise ModelFormatError(f"{folder}: the token limit must be at least 2, found {length}")
    return length


def _positive(config: Mapping[str, Any], key: str, folder: Path) -> int:
    value = config.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ModelFormatError(f"{folder / 'config.json'}: {key} must be a positive number, found {shown(value)}")
    return value


def _first_of(given: str | None, prompts: Mapping[str, str], names: tuple[str, ...], default: str) -> str:
    if given is not None:
        return given
    return next((prompts[name] for name in names if name in prompts), default)
