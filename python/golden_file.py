"""Writes a golden's tensors as safetensors, reproducibly."""

import json
import struct

import torch


def write_golden(tensors, path, metadata, unaligned=False):
    """A safetensors file whose bytes depend on nothing but the arguments; the library's own writer shuffles the metadata.

    Largest elements first, so that every tensor is aligned; `unaligned` turns that round and gives the header an odd length,
    which is as legal: tensors then start at odd offsets.
    """
    kinds = {torch.float32: "F32", torch.float64: "F64", torch.int64: "I64", torch.bool: "BOOL", torch.int32: "I32",
             torch.uint8: "U8", torch.float16: "F16", torch.bfloat16: "BF16"}  # fmt: skip
    order = sorted(tensors, key=lambda name: tensors[name].element_size() * (1 if unaligned else -1))
    header, at = {"__metadata__": metadata}, 0
    for name in order:
        size = tensors[name].numel() * tensors[name].element_size()
        shape = list(tensors[name].shape)
        header[name] = {"dtype": kinds[tensors[name].dtype], "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (((3 if unaligned else 0) - len(text)) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name in order:
            file.write(tensors[name].reshape(-1).view(torch.uint8).numpy().tobytes())
