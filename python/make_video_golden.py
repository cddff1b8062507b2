"""Goldens of the video processor, its prompts and GIF: python make_video_golden.py test/fixtures/video

Made with torch 2.14.1, torchvision 0.29.1 (CPU, AVX2 or AVX-512), transformers 4.56.2 and num2words 0.5.14. Frames are
formulas that TypeScript repeats, so a case holds the SHA-256 of what came out.
"""

import copy
import hashlib
import json
import pathlib
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import PIL
import torch
import torchvision
import transformers
from num2words import num2words
from PIL import Image, ImageSequence
from processing_pictures import formula
from transformers import SmolVLMProcessor
from transformers.models.smolvlm.video_processing_smolvlm import SmolVLMVideoProcessor
from transformers.video_utils import VideoMetadata

SMALL = {"size": {"longest_edge": 128}, "max_image_size": {"longest_edge": 64}}
REAL = {"size": {"longest_edge": 512}, "max_image_size": {"longest_edge": 512}}


def sha(array) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def save(path: pathlib.Path, cases: list) -> None:
    made_by = {
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "transformers": transformers.__version__,
        "pillow": PIL.__version__,
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
    }
    lines = ",\n".join(json.dumps(case) for case in cases)
    path.write_text(f'{{"made_by": {json.dumps(made_by)},\n"cases": [\n{lines}\n]}}\n')
    print(f"{path.name}: {len(cases)} cases")


def attempt(make) -> dict:
    try:
        return make()
    except Exception as error:  # noqa: BLE001 - whatever the reference raises is the golden
        return {"error": f"{type(error).__name__}: {str(error).splitlines()[0]}"}


# ---- sampling -------------------------------------------------------------------------------------------------------


def sampling_cases() -> list:
    processor = SmolVLMVideoProcessor()
    rng = np.random.default_rng(17)
    chosen = [
        (1, 30, 1 / 30, 64, 1, 1),
        (2, 30, 2 / 30, 64, 1, 1),
        (300, 30, 10, 64, 1, 1),
        (300, 30, 10, 8, 1, 1),
        (300, 30, 10, 8, 1, 0),
        (300, 30, 10, 7, 1, 1.5),
        (300, 30, 10, 10, 0.25, 1),
        (300, 30, 2.5, 64, 1, 1),
        (300, 30, 3.5, 64, 1, 1),
        (10, 1, 10, 3, 1, 1),
        (10, 1, 10, 3, 2, 4),
        (10, 1, 10, 1, 0.5, 4),
        (10, 1, 10, 1, 1, 5),
        (500, 25, 20, 64, 30, 1),
        (17, 12.5, 1.36, 64, 24, 1),
        (1800, 29.97, 60.06, 50, 1, 2),
        (9000, 23.976, 375.375, 64, 1, 1),
        (100000, 60, 1666.67, 1500, 1, 1),
    ]
    for _ in range(180):
        rate = float(rng.choice([10, 12.5, 15, 23.976, 24, 25, 29.97, 30, 50, 60]))
        total = int(np.exp(rng.uniform(0, np.log(20000))))
        duration = total / rate if rng.random() < 0.8 else float(np.round(total / rate, 2))
        wanted, target = int(rng.integers(1, 100)), float(rng.choice([0.1, 0.5, 1, 1, 1, 2, 3, 7.5]))
        chosen.append((total, rate, duration, wanted, target, float(rng.choice([0, 0.5, 1, 1, 2, 10]))))
    cases = []
    for total, rate, duration, wanted, target, skip in chosen:
        metadata = VideoMetadata(total_num_frames=total, fps=rate, duration=duration)
        indices = processor.sample_frames(metadata, num_frames=wanted, fps=target, skip_secs=skip)
        cases.append(
            {
                "metadata": {"total_num_frames": total, "fps": rate, "duration": duration},
                "options": {"num_frames": wanted, "fps": target, "skip_secs": skip},
                "indices": [int(i) for i in indices],
            }
        )
    return cases


# ---- prompts --------------------------------------------------------------------------------------------------------


def number_cases() -> list:
    values = [*range(1101), 1234, 2000, 9999, 10001, 12345, 100000, 100100, 999999, 1000000, 1000001, 1050000, 2000001, 123456789]
    return [[value, num2words(value)] for value in values]


def prompt_cases() -> list:
    tokens = SimpleNamespace(
        video_token="<video>",
        image_seq_len=2,
        image_token="<image>",
        fake_image_token="<fake_token_around_image>",
        global_image_token="<global-img>",
    )
    cases = []
    for metadata in [
        {"total_num_frames": 300, "fps": 30.0, "duration": 10.0, "frames_indices": [0, 99, 149, 299]},
        {"total_num_frames": 300, "fps": 29.97, "duration": 10.01, "frames_indices": [0, 30, 60, 61, 90, 299]},
        {"total_num_frames": 5, "fps": None, "duration": None, "frames_indices": [0, 1, 2, 3, 4]},
        {"total_num_frames": 100, "fps": None, "duration": 3.99, "frames_indices": [0, 23, 24, 25, 48]},
        {"total_num_frames": 216000, "fps": 60.0, "duration": 3600.5, "frames_indices": [0, 3599, 3600, 215999]},
        {"total_num_frames": 10**7, "fps": 10.0, "duration": 90061.0, "frames_indices": [5, 900609]},
        {"total_num_frames": 10**7, "fps": 10.0, "duration": 260000.0, "frames_indices": [9999]},
        {"total_num_frames": 64, "fps": 1.0, "duration": 64.0, "frames_indices": list(range(64))},
        {"total_num_frames": 101, "fps": 24.0, "duration": None, "frames_indices": list(range(101))},
        {"total_num_frames": 10, "fps": 5.0, "duration": 2.0, "frames_indices": None},
    ]:
        text = "User: <video>What?<video>"
        frames = len(metadata["frames_indices"] or [])

        def make(metadata=metadata, text=text, frames=frames):
            inputs = {
                "pixel_values": np.zeros((2, frames, 1)),
                "video_metadata": [VideoMetadata(**metadata), VideoMetadata(**metadata)],
            }
            return {"result": SmolVLMProcessor.expand_text_with_video_tokens(tokens, [text], inputs)[0]}

        cases.append({"metadata": metadata, "text": text, **attempt(make)})
    return cases


# ---- processor ------------------------------------------------------------------------------------------------------


def video(kind: str, frames: int, height: int, width: int, channels: int) -> np.ndarray:
    """uint8 [frames, height, width, channels]: a formula picture whose levels shift by 7 from frame to frame."""
    first = formula(kind, height, width, channels).astype(np.int64)
    return np.stack([(first + 7 * t) & 255 for t in range(frames)]).astype(np.uint8)


def case(name: str, videos: list, options: dict, form: str = "thwc") -> dict:
    call_names = ("input_data_format", "video_metadata", "return_metadata", "do_sample_frames", "num_frames", "fps", "skip_secs", "data_format")
    init = copy.deepcopy({k: v for k, v in options.items() if k not in call_names})  # the reference writes into them
    call = {k: v for k, v in options.items() if k in call_names}
    arrays = [video(*v) for v in videos]
    if form == "tchw":
        arrays = [a.transpose(0, 3, 1, 2) for a in arrays]
    if form == "pil":
        arrays = [[Image.fromarray(frame) for frame in a] for a in arrays]
    if form == "float":
        arrays = [(a.transpose(0, 3, 1, 2) / np.float32(255)).astype(np.float32) for a in arrays]

    def make():
        result = SmolVLMVideoProcessor(**init)(arrays, return_tensors="pt", **call)
        values = result["pixel_values"].float().numpy()
        out = {"dims": list(values.shape), "pixel_values": sha(values)}
        if "pixel_attention_mask" in result:
            out["pixel_attention_mask"] = sha(result["pixel_attention_mask"].numpy().astype(np.uint8))
        if "video_metadata" in result:
            out["video_metadata"] = [
                {k: ([int(i) for i in v] if k == "frames_indices" and v is not None else v) for k, v in m.items()}
                for m in result["video_metadata"]
            ]
        return out

    return {"name": name, "videos": videos, "options": options, "form": form, **attempt(make)}


def processor_cases() -> list:
    cases = []

    def add(*arguments, **more) -> None:
        cases.append(case(*arguments, **more))

    for height, width in [(48, 64), (64, 48), (64, 64), (100, 31), (33, 200), (150, 150), (2, 9)]:
        for kind in ("wave", "noise"):
            add(f"size {height}x{width} {kind}", [[kind, 3, height, width, 3]], SMALL)
    add("real size", [["wave", 2, 360, 640, 3]], REAL)
    add("real size, defaults", [["noise", 2, 240, 320, 3]], {})
    for form in ("tchw", "pil", "float"):
        options = {**SMALL, "do_rescale": False} if form == "float" else SMALL
        add(f"form {form}", [["wave", 3, 50, 70, 3]], options, form=form)
    add("grey", [["wave", 2, 50, 70, 1]], SMALL)
    add("RGBA", [["noise", 2, 50, 70, 4]], {**SMALL, "input_data_format": "channels_last"})
    add("RGBA without a format", [["noise", 2, 50, 70, 4]], SMALL)
    for resample in range(6):
        add(f"filter {resample}", [["noise", 2, 90, 70, 3]], {**SMALL, "resample": resample})
    one = [["noise", 2, 50, 71, 3]]
    add("not resized", one, {**SMALL, "do_resize": False})
    add("not converted", one, {**SMALL, "do_convert_rgb": False})
    add("resized to a size", one, {**SMALL, "size": {"height": 30, "width": 100}})
    add("size a number", one, {**SMALL, "size": 100})
    add("size a number, not square", one, {**SMALL, "size": 100, "default_to_square": False})
    add("longest edge beyond 4096", [["wave", 1, 20, 30, 3]], {**SMALL, "size": {"longest_edge": 5000}})
    add("not rescaled", one, {**SMALL, "do_rescale": False})
    add("not normalised", one, {**SMALL, "do_normalize": False})
    add("levels", one, {**SMALL, "do_rescale": False, "do_normalize": False})
    means = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
    add("other mean and deviation", one, {**SMALL, **means})
    add("scalar mean, other factor", one, {**SMALL, "image_mean": 0.4, "image_std": 0.3, "rescale_factor": 1 / 127})
    add("not padded", one, {**SMALL, "do_pad": False})
    add("on a device", one, {**SMALL, "device": "cpu"})
    add("two videos of one shape", [["wave", 3, 50, 70, 3], ["noise", 3, 50, 70, 3]], SMALL)
    add("two videos of other sizes", [["wave", 3, 50, 70, 3], ["noise", 3, 90, 70, 3]], SMALL)
    add("two videos of other sizes, not resized", [["wave", 2, 50, 70, 3], ["noise", 2, 90, 60, 3]], {**SMALL, "do_resize": False})
    add("two videos of other lengths", [["wave", 3, 50, 70, 3], ["noise", 5, 50, 70, 3]], SMALL)
    add("centre crop, which the reference drops", one, {**SMALL, "do_center_crop": True, "crop_size": 20})
    add("divisor, which the reference drops", one, {**SMALL, "size_divisor": 48})
    add("channels last", one, {**SMALL, "data_format": "channels_last"})
    add("tile as a number", one, {**SMALL, "max_image_size": 64})
    add("metadata of its own", one, {**SMALL, "return_metadata": True})
    sampling = {"video_sampling": {"fps": 1, "max_frames": 4, "video_size": {"longest_edge": 64}}, "max_image_size": {"longest_edge": 32}}
    rates = [(40, 10.0, 4.0), (40, 4.0, 10.0), (9, 24.0, 0.375), (30, 2.0, 15.0)]
    for total, rate, duration in rates:
        metadata = [{"total_num_frames": total, "fps": rate, "duration": duration}]
        for more in ({}, {"num_frames": 3}, {"fps": 2, "num_frames": 20}, {"num_frames": 5, "fps": 0.5, "skip_secs": 0}, {"num_frames": 2, "skip_secs": 2}):
            options = {**sampling, "do_sample_frames": True, "video_metadata": metadata, "return_metadata": True, **more}
            add(f"sampled {total} at {rate} {more}", [["wave", total, 20, 30, 3]], options)
    metadata = [{"total_num_frames": 300, "fps": 30.0, "duration": 10.0, "frames_indices": [0, 150]}]
    add("sampled before", one, {**SMALL, "video_metadata": metadata, "return_metadata": True})
    add("sampled without metadata", one, {**SMALL, "do_sample_frames": True, "num_frames": 2, "fps": 1})
    size = {**sampling, "size": {"longest_edge": 96}}
    add("size beside video_sampling", one, size)
    return cases


# ---- GIF ------------------------------------------------------------------------------------------------------------


def gif_cases(out: pathlib.Path) -> list:
    """Files as Pillow writes them, and its frames on white. Patterns of transparency and disposal of all kinds."""
    cases = []

    def add(name: str, frames: list, **options) -> None:
        path = out / name
        frames[0].save(path, "GIF", save_all=True, append_images=frames[1:], **options)
        shown, delays = [], []
        with Image.open(path) as image:
            for frame in ImageSequence.Iterator(image):
                rgba = frame.convert("RGBA")
                white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
                shown.append(sha(np.array(Image.alpha_composite(white, rgba).convert("RGB"))))
                delays.append(frame.info.get("duration", 0) / 1000)
        cases.append({"file": name, "size": list(image.size), "frames": shown, "delays": delays})

    plain = [Image.fromarray(f).quantize(64) for f in video("wave", 6, 40, 56, 3)]
    add("plain.gif", plain, duration=[100, 50, 200, 40, 70, 1000], loop=0)
    add("interlaced.gif", [Image.fromarray(f).quantize(256) for f in video("noise", 3, 37, 29, 3)], duration=80, interlace=1)
    add("two_colors.gif", [Image.fromarray(f[:, :, 0]).convert("1") for f in video("wave", 4, 9, 11, 3)], duration=100)
    add("one_frame.gif", [Image.fromarray(formula("noise", 130, 140, 3)).quantize(256)])
    for disposal in (0, 1, 2, 3):
        frames = []
        for t in range(5):
            rgba = np.zeros((30, 40, 4), np.uint8)
            rgba[3 + 4 * t : 12 + 4 * t, 5 * t : 5 * t + 15] = [250 - 40 * t, 30 * t, 90, 255]
            frames.append(Image.fromarray(rgba))
        add(f"disposal_{disposal}.gif", frames, duration=60, disposal=disposal)
    mixed = [Image.fromarray(f) for f in video("wave", 5, 24, 24, 4)]
    for frame in mixed:
        frame.putalpha(frame.getchannel("A").point(lambda v: 255 if v > 90 else 0))
    add("disposal_mixed.gif", mixed, duration=[30, 40, 50, 60, 70], disposal=[1, 2, 0, 2, 1])
    return cases


# ---- clips ----------------------------------------------------------------------------------------------------------


def write_clips(out: pathlib.Path) -> None:
    """Clips whose frame n has the grey level 20 + 4·n, so that a test sees which frame it got. Needs ffmpeg."""

    def make(name: str, seconds: float, filters: str, *options: str) -> None:
        source = f"color=black:s=64x48:r=25:d={seconds},format=yuv444p,geq=lum='34+N*3.4353':cb=128:cr=128"
        command = ["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", source + filters, "-pix_fmt", "yuv420p"]
        subprocess.run([*command, "-bitexact", *options, str(out / name)], check=True)

    make("clip.mp4", 2, "", "-c:v", "libx264", "-g", "12", "-bf", "2", "-crf", "12")
    uneven = ",setpts='(N+2*floor(N/3))/25/TB'"
    make("uneven.webm", 1, uneven, "-c:v", "libvpx-vp9", "-vsync", "vfr", "-g", "5", "-crf", "15", "-b:v", "0")
    make("long.mp4", 40, "", "-vf", "geq=lum='34+mod(N,50)*3.4353':cb=128:cr=128", "-c:v", "libx264", "-g", "50", "-crf", "20")


if __name__ == "__main__":
    torch.set_num_threads(2)
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    save(folder / "sampling.json", sampling_cases())
    save(folder / "numbers.json", number_cases())
    save(folder / "prompts.json", prompt_cases())
    save(folder / "processor.json", processor_cases())
    save(folder / "gif.json", gif_cases(folder))
    write_clips(folder)
