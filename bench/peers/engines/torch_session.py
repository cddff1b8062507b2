"""torch's side of the benchmark: python torch_session.py GROUP CHECKPOINT_FOLDER THREADS. One JSON line when ready, then one
for each line on stdin, with the seconds of a run."""

import json
import sys
import time

import torch
import torch.nn.functional as F

MATMUL = (1020, 768, 3072)
PREFIX = "model.vision_model."


def read_weights(path):
    """The float32 tensors of a safetensors file that belong to the vision model."""
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        weights = {}
        for name, entry in header.items():
            if not name.startswith(PREFIX):
                continue
            begin, end = entry["data_offsets"]
            file.seek(8 + length + begin)
            data = torch.frombuffer(bytearray(file.read(end - begin)), dtype=torch.float32)
            weights[name[len(PREFIX) :]] = data.reshape(entry["shape"])
    return weights


def siglip(w, config, pixels):
    """The encoder over one full tile, [1, 3, S, S] to [1, patches, D]."""
    heads, eps = config["num_attention_heads"], config["layer_norm_eps"]
    width = config["hidden_size"]

    def linear(x, name):
        return F.linear(x, w[f"{name}.weight"], w[f"{name}.bias"])

    def norm(x, name):
        return F.layer_norm(x, (width,), w[f"{name}.weight"], w[f"{name}.bias"], eps)

    patch = "embeddings.patch_embedding"
    x = F.conv2d(pixels, w[f"{patch}.weight"], w[f"{patch}.bias"], stride=config["patch_size"])
    x = x.flatten(2).transpose(1, 2) + w["embeddings.position_embedding.weight"]
    for i in range(config["num_hidden_layers"]):
        layer = f"encoder.layers.{i}"
        y = norm(x, f"{layer}.layer_norm1")
        q, k, v = (
            linear(y, f"{layer}.self_attn.{n}_proj").view(1, -1, heads, width // heads).transpose(1, 2) for n in "qkv"
        )
        y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(1, -1, width)
        x = x + linear(y, f"{layer}.self_attn.out_proj")
        y = F.gelu(linear(norm(x, f"{layer}.layer_norm2"), f"{layer}.mlp.fc1"), approximate="tanh")
        x = x + linear(y, f"{layer}.mlp.fc2")
    return norm(x, "post_layernorm")


def main():
    group, folder, threads = sys.argv[1:]
    torch.set_num_threads(int(threads))
    torch.manual_seed(0)
    if group == "matmul":
        m, k, n = MATMUL
        x, w = torch.rand(m, k) - 0.5, torch.rand(n, k) - 0.5
        run = lambda: F.linear(x, w)
    else:
        config = json.load(open(f"{folder}/config.json"))["vision_config"]
        weights = read_weights(f"{folder}/model.safetensors")
        pixels = torch.rand(1, 3, config["image_size"], config["image_size"]) * 2 - 1
        run = lambda: siglip(weights, config, pixels)
    print(json.dumps({"version": f"torch {torch.__version__}"}), flush=True)
    with torch.inference_mode():
        for _ in sys.stdin:
            started = time.perf_counter()
            run()
            print(json.dumps({"seconds": time.perf_counter() - started}), flush=True)


main()
