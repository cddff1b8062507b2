"""Goldens of the fast image processor: python make_fast_golden.py test/fixtures/fast

Needs torchvision, which decides the results: made with torch 2.14.1, torchvision 0.29.1 (CPU, AVX2 or AVX-512) and
transformers 4.56.2. Pictures are formulas that TypeScript repeats, so a case holds the SHA-256 of what came out.
"""

import hashlib
import json
import pathlib
import sys

import numpy as np
import PIL
import torch
import torchvision
import transformers
from PIL import Image
from processing_pictures import formula
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as v1
from torchvision.transforms.v2 import functional as v2
from transformers import SmolVLMImageProcessor, SmolVLMImageProcessorFast

REAL = {"size": {"longest_edge": 2048}, "max_image_size": {"longest_edge": 512}}
SMALL = {"size": {"longest_edge": 256}, "max_image_size": {"longest_edge": 64}}
FILES = pathlib.Path(__file__).resolve().parent.parent / "test/fixtures/processing/images"


def sha(array) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def made_by() -> dict:
    return {
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "transformers": transformers.__version__,
        "pillow": PIL.__version__,
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
    }


def save(path: pathlib.Path, cases: list) -> None:
    lines = ",\n".join(json.dumps(case) for case in cases)
    path.write_text(f'{{"made_by": {json.dumps(made_by())},\n"cases": [\n{lines}\n]}}\n')
    print(f"{path.name}: {len(cases)} cases")


# ---- resize ---------------------------------------------------------------------------------------------------------

MODES = {0: InterpolationMode.NEAREST_EXACT, 2: InterpolationMode.BILINEAR, 3: InterpolationMode.BICUBIC}


def resize_cases() -> list:
    """Random sizes; both versions of torchvision's resize; uint8, uint16 and float32 pixels."""
    rng = np.random.default_rng(11)
    cases = []
    for i in range(240):
        height, width, to_height, to_width = (int(v) for v in np.exp(rng.uniform(np.log(2), np.log(400), 4)))
        if i % 11 == 0:
            to_width = width
        if i % 11 == 1:
            to_height = height
        channels, kind, resample = [3, 1, 4][i % 3], ["wave", "noise"][i // 3 % 2], [3, 2, 3, 2, 0][i % 5]
        array = formula(kind, height, width, channels).transpose(2, 0, 1)
        case = {"picture": [kind, height, width, channels], "size": [to_height, to_width], "resample": resample}
        for version, resize in [("v1", v1.resize), ("v2", v2.resize)]:
            for dtype in ("uint8", "float32", "uint16"):
                if (version, dtype) == ("v2", "uint16"):
                    continue
                scaled = array.astype(dtype) * (256 if dtype == "uint16" else 1)
                pixels = torch.from_numpy(scaled.astype(dtype).copy())
                result = resize(pixels, [to_height, to_width], interpolation=MODES[resample], antialias=True).numpy()
                # Levels that leave 16 bits wrap there; such cases say nothing.
                if dtype == "uint16":
                    exact = resize(pixels.float(), [to_height, to_width], interpolation=MODES[resample], antialias=True)
                    if exact.min() < 0 or exact.max() > 65535:
                        continue
                case[f"{version}_{dtype}"] = sha(result)
        cases.append(case)
    return cases


# ---- processor ------------------------------------------------------------------------------------------------------


def inputs(images: list, form: str) -> list:
    def one(image):
        if isinstance(image, str):
            return Image.open(FILES / image)
        array = formula(*image)
        if form == "pil":
            return Image.fromarray(array[:, :, 0] if image[3] == 1 else array)
        if form == "hwc":
            return array
        array = array.transpose(2, 0, 1)
        if form == "float":
            return (array / np.float32(255)).astype(np.float32)
        if form == "uint16":
            return array.astype(np.uint16) * 100 + 20000  # nothing overshoots 16 bits
        return array

    return [[one(image) for image in sample] for sample in images]


def case(name: str, images: list, options: dict, form: str = "pil") -> dict:
    init = {k: v for k, v in options.items() if k not in ("input_data_format", "return_row_col_info", "disable_grouping")}
    call = {k: v for k, v in options.items() if k not in init}
    out = {"name": name, "images": images, "options": options, "form": form}
    try:
        result = SmolVLMImageProcessorFast(**init)(inputs(images, form), return_tensors="pt", **call)
    except Exception as error:  # noqa: BLE001 - whatever the reference raises is the golden
        return {**out, "error": f"{type(error).__name__}: {str(error).splitlines()[0]}"}
    values = result["pixel_values"].float().numpy()
    out |= {"dims": list(values.shape), "pixel_values": sha(values)}
    if "pixel_attention_mask" in result:
        out["pixel_attention_mask"] = sha(result["pixel_attention_mask"].numpy().astype(np.uint8))
    if "rows" in result:
        out |= {"rows": result["rows"], "cols": result["cols"]}
    return out


SIZES = [(7, 300), (300, 7), (2, 2), (64, 64), (511, 513), (100, 100), (480, 640), (1023, 767), (17, 4100), (333, 257)]
LARGE = [(2000, 1500), (700, 2500)]


def processor_cases() -> list:
    cases = []

    def add(*arguments, **more) -> None:
        cases.append(case(*arguments, **more))

    info = {"return_row_col_info": True}
    for split in (True, False):
        word = "split" if split else "whole"
        for height, width in SIZES:
            for kind in ("wave", "noise"):
                options = {**SMALL, **info, "do_image_splitting": split}
                add(f"small {word} {height}x{width} {kind}", [[[kind, height, width, 3]]], options)
        for i, (height, width) in enumerate([(480, 640), (512, 512), *LARGE] if split else [(480, 640), (2000, 3000)]):
            options = {**REAL, **info, "do_image_splitting": split}
            add(f"real {word} {height}x{width}", [[[["wave", "noise"][i % 2], height, width, 3]]], options)
        for channels in (1, 4):
            for height, width in [(40, 60), (200, 90)]:
                options = {**SMALL, "do_image_splitting": split}
                add(f"{channels} channels {word} {height}x{width}", [[["noise", height, width, channels]]], options)
        for form in ("hwc", "chw", "float", "uint16"):
            options = {**SMALL, "do_image_splitting": split}
            if form == "float":
                options["do_rescale"] = False
            if form == "uint16":
                options["rescale_factor"] = 1 / 65535
            add(f"array {form} {word}", [[["wave", 90, 61, 3]]], options, form=form)
            add(f"grey array {form} {word}", [[["wave", 90, 61, 1]]], options, form=form)
        for file in ["420_progressive.jpg", "grey.jpg", "grey_16.png", "palette_8_alpha.png", "palette_4.png", "grey_1.png", "rgba_8.png"]:
            add(f"file {word} {file}", [[file]], {**SMALL, "do_image_splitting": split})
    for resample in (0, 1, 2, 3, 4, 5):
        add(f"filter {resample}", [[["noise", 150, 101, 3]]], {**SMALL, "resample": resample})
    one = [[["noise", 50, 71, 3]]]
    add("not resized", [[["noise", 150, 101, 3]]], {**SMALL, "do_resize": False})
    add("resized to a size", [[["noise", 150, 101, 3]]], {**SMALL, "size": {"height": 100, "width": 130}})
    add("size a number", one, {**SMALL, "size": 100})
    add("size a number, not square", one, {**SMALL, "size": 100, "default_to_square": False})
    add("shortest edge", one, {**SMALL, "size": {"shortest_edge": 100}})
    add("shortest and longest edge", one, {**SMALL, "size": {"shortest_edge": 100, "longest_edge": 150}})
    add("longest edge beyond 4096", [[["wave", 30, 50, 3]]], {"size": {"longest_edge": 5000}, "max_image_size": {"longest_edge": 512}})
    add("not rescaled", one, {**SMALL, "do_rescale": False})
    add("not normalised", one, {**SMALL, "do_normalize": False})
    add("levels", one, {**SMALL, "do_rescale": False, "do_normalize": False})
    means = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
    add("other mean and deviation", one, {**SMALL, **means})
    add("other mean and deviation, not rescaled", one, {**SMALL, **means, "do_rescale": False})
    add("scalar mean, other factor", one, {**SMALL, "image_mean": 0.4, "image_std": 0.3, "rescale_factor": 1 / 127})
    add("not converted", one, {**SMALL, "do_convert_rgb": False})
    add("not converted, grey", [[["noise", 50, 71, 1]]], {**SMALL, "do_convert_rgb": False})
    add("RGBA array", [[["noise", 50, 71, 4]]], {**SMALL, "input_data_format": "channels_last"}, form="hwc")
    add("RGBA array, levels", [[["noise", 50, 71, 4]]], {**SMALL, "input_data_format": "channels_last", "do_convert_rgb": False, "do_normalize": False}, form="hwc")
    add("channels last, 3 high", [[["noise", 3, 90, 3]]], {**SMALL, "input_data_format": "channels_last"}, form="hwc")
    add("channels first inferred, 3 high", [[["noise", 3, 90, 3]]], SMALL, form="hwc")
    add("centre crop without a size", one, {**SMALL, "do_center_crop": True})
    add("centre crop, which the reference drops", one, {**SMALL, "do_center_crop": True, "crop_size": 20})
    add("tile as a number", one, {**SMALL, "max_image_size": 64})
    add("on a device", one, {**SMALL, "device": "cpu"})
    for grouping in (True, False):
        add(f"grouping {grouping}", [[["wave", 60, 70, 3], ["noise", 60, 70, 3]]], {**SMALL, "disable_grouping": grouping})
    add("defaults", [[["wave", 300, 400, 3]]], {})
    batch = [[["wave", 60, 70, 3], ["noise", 90, 50, 3]], [["noise", 33, 200, 3]], [["wave", 64, 64, 3]] * 3]
    for split in (True, False):
        add(f"batch {'split' if split else 'whole'}", batch, {**SMALL, **info, "do_image_splitting": split})
    add("even batch, not padded", [[["wave", 60, 70, 3]], [["noise", 60, 70, 3]]], {**SMALL, "do_pad": False})
    add("uneven batch, not padded", batch, {**SMALL, "do_pad": False})
    return cases


# ---- arrays given to the slow one ------------------------------------------------------------------------------------


def slow_array_cases() -> list:
    """The PIL processor on arrays: dims and dtypes, and the order of the result."""

    def array(form: str, picture: list):
        hwc = formula(*picture)
        chw = hwc.transpose(2, 0, 1)
        forms = {
            "hwc": hwc,
            "chw": chw,
            "hw": hwc[:, :, 0],
            "float": (chw / np.float32(255)).astype(np.float32),
            "levels": chw.astype(np.float32),
            "halves": chw.astype(np.float32) + np.float32(0.5),
            "uint16": chw.astype(np.uint16),
            "uint16_large": chw.astype(np.uint16) * 257,
            "double": (hwc / 255.0 * 0.999),
        }
        return np.ascontiguousarray(forms[form])

    cases = []
    for form in ("hwc", "chw", "hw", "float", "levels", "halves", "uint16", "uint16_large", "double"):
        for channels in (3, 1, 4):
            if form == "hw" and channels != 1:
                continue
            for more in ({}, {"data_format": "channels_last"}, {"data_format": None}, {"do_image_splitting": False}):
                picture = ["noise", 50, 71, channels]
                out = {"picture": picture, "form": form, "options": {**SMALL, **more}}
                image = array(form, picture)
                try:
                    images = [[Image.fromarray(image)]] if form == "hw" else [[image]]
                    call = {k: v for k, v in more.items() if k == "data_format"}
                    init = {**SMALL, **{k: v for k, v in more.items() if k not in call}}
                    values = SmolVLMImageProcessor(**init)(images, return_tensors="np", **call)["pixel_values"]
                    out |= {"dims": list(values.shape), "pixel_values": sha(values.astype(np.float32))}
                except ValueError as error:
                    out["error"] = str(error).splitlines()[0]
                cases.append(out)
    return cases


# ---- against the slow one -------------------------------------------------------------------------------------------


def difference_cases() -> list:
    """How far the two processors of the reference are apart, in levels of 255."""
    cases = []
    for kind, height, width in [("wave", 480, 640), ("noise", 480, 640), ("wave", 1023, 767), ("noise", 100, 100), ("wave", 64, 64)]:
        picture = [kind, height, width, 3]
        options = {**SMALL, "do_rescale": False, "do_normalize": False}
        image = Image.fromarray(formula(*picture))
        slow = SmolVLMImageProcessor(**options)([[image]], return_tensors="np")["pixel_values"].astype(np.int64)
        fast = SmolVLMImageProcessorFast(**options)([[image]], return_tensors="pt")["pixel_values"].numpy().astype(np.int64)
        apart = np.abs(slow - fast)
        cases.append({"picture": picture, "options": options, "values": int(apart.size), "different": int((apart > 0).sum()), "largest": int(apart.max())})
    return cases


if __name__ == "__main__":
    torch.set_num_threads(2)
    out = pathlib.Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    save(out / "resize.json", resize_cases())
    save(out / "processor.json", processor_cases())
    save(out / "slow_arrays.json", slow_array_cases())
    save(out / "slow_and_fast.json", difference_cases())
