"""The picture part of make_processing_golden.py."""

import hashlib
import io
import json
import pathlib
import struct
import zlib

import numpy as np
from PIL import Image, ImageOps
from processing_pictures import formula, png
from transformers import SmolVLMImageProcessor
from transformers.image_utils import load_image

# The sizes of the 256M model's preprocessor_config.json, and smaller ones for speed.
REAL = {"size": {"longest_edge": 2048}, "max_image_size": {"longest_edge": 512}}
SMALL = {"size": {"longest_edge": 256}, "max_image_size": {"longest_edge": 64}}


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def save(path: pathlib.Path, made_by: dict, cases: list) -> None:
    path.write_text(json.dumps({"made_by": made_by, "cases": cases}, indent=1) + "\n")
    print(f"{path.name}: {len(cases)} cases")


# ---- picture files --------------------------------------------------------------------------------------------------


def jpeg(array: np.ndarray, mode: str | None = None, **options) -> bytes:
    image = Image.fromarray(array) if mode is None else Image.frombytes(mode, array.shape[1::-1], array.tobytes())
    out = io.BytesIO()
    image.save(out, "JPEG", **options)
    return out.getvalue()


def exif(orientation: int, order: str, kind: int = 3) -> bytes:
    value = {3: "HH", 4: "I"}[kind]
    entry = struct.pack(order + "HHI" + value, 0x0112, kind, 1, *([orientation, 0] if kind == 3 else [orientation]))
    other = struct.pack(order + "HHIHH", 0x0128, 3, 1, 2, 0)
    start = b"II*\0" if order == "<" else b"MM\0*"
    return start + struct.pack(order + "IH", 8, 2) + entry + other + struct.pack(order + "I", 0)


def xmp(orientation: int) -> bytes:
    return f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="{orientation}"/></x:xmpmeta>'.encode()


def patch_sampling(data: bytes, old: tuple, new: tuple) -> bytes:
    """Another arrangement of the first component's blocks in the MCU: a file that Pillow itself cannot write."""
    at = data.index(b"\xff\xc0") + 11
    assert data[at] == old[0] << 4 | old[1]
    return data[:at] + bytes([new[0] << 4 | new[1]]) + data[at + 1 :]


def jpeg_files() -> dict[str, bytes]:
    files = {}
    picture = formula("wave", 61, 83, 3)
    for sampling, name in [(0, "444"), (1, "422"), (2, "420")]:
        for progressive in (False, True):
            kind = "progressive" if progressive else "baseline"
            files[f"{name}_{kind}.jpg"] = jpeg(picture, quality=85, subsampling=sampling, progressive=progressive)
        for height, width in [(1, 1), (2, 17), (9, 8), (33, 5)]:
            files[f"{name}_{height}x{width}.jpg"] = jpeg(formula("wave", height, width, 3), subsampling=sampling)
    square = formula("wave", 64, 64, 3)
    files["440.jpg"] = patch_sampling(jpeg(square, subsampling=1), (2, 1), (1, 2))
    files["411.jpg"] = patch_sampling(jpeg(square, subsampling=2), (2, 2), (4, 1))
    files["441.jpg"] = patch_sampling(jpeg(square, subsampling=2), (2, 2), (1, 4))
    files["grey.jpg"] = jpeg(picture[:, :, 0])
    files["grey_progressive.jpg"] = jpeg(picture[:, :, 1], progressive=True)
    files["restart.jpg"] = jpeg(picture, restart_marker_blocks=3)
    files["rgb.jpg"] = jpeg(picture, keep_rgb=True)
    files["quality_1.jpg"] = jpeg(picture, quality=1)
    files["quality_100.jpg"] = jpeg(formula("noise", 24, 40, 3), quality=100, subsampling=0)
    files["trailing_bytes.jpg"] = jpeg(picture) + b"\0trailing"
    ink = formula("wave", 45, 52, 4)
    files["cmyk.jpg"] = jpeg(ink, "CMYK", quality=90)
    files["cmyk_progressive.jpg"] = jpeg(ink, "CMYK", quality=70, progressive=True)
    files["cmyk_420.jpg"] = jpeg(ink, "CMYK", quality=80, subsampling=2)
    adobe = files["cmyk.jpg"].index(b"Adobe")
    plain, ycck = bytearray(files["cmyk.jpg"]), bytearray(files["cmyk_420.jpg"])
    plain[adobe : adobe + 5] = b"Other"
    ycck[ycck.index(b"Adobe") + 11] = 2
    files["cmyk_without_adobe.jpg"], files["ycck_420.jpg"] = bytes(plain), bytes(ycck)
    small = formula("wave", 20, 31, 3)
    for orientation in range(1, 9):
        files[f"orientation_{orientation}.jpg"] = jpeg(small, exif=b"Exif\0\0" + exif(orientation, "<>"[orientation % 2]))
    files["orientation_long.jpg"] = jpeg(small, exif=b"Exif\0\0" + exif(6, "<", 4))
    files["orientation_xmp.jpg"] = jpeg(small, xmp=xmp(8))
    files["orientation_9.jpg"] = jpeg(small, exif=b"Exif\0\0" + exif(9, "<"))
    files["orientation_cmyk.jpg"] = jpeg(formula("wave", 20, 31, 4), "CMYK", exif=b"Exif\0\0" + exif(5, ">"))
    return files


def png_files() -> dict[str, bytes]:
    files = {}
    height, width = 13, 19

    def samples(per_pixel: int, depth: int) -> np.ndarray:
        value = formula("noise", height, width, per_pixel).astype(np.uint16)
        if depth == 16:
            return value << 8 | formula("wave", height, width, per_pixel)
        return value >> (8 - depth)

    palette = formula("noise", 1, 256, 3).reshape(-1).tobytes()
    alphas = formula("wave", 1, 256, 1).reshape(-1).tobytes()
    for interlaced in (False, True):
        end = "_interlaced.png" if interlaced else ".png"
        for depth in (1, 2, 4, 8, 16):
            grey = samples(1, depth)
            files[f"grey_{depth}{end}"] = png(grey, depth, 0, interlaced=interlaced)
            key = struct.pack(">H", int(grey[3, 4, 0]))
            files[f"grey_{depth}_key{end}"] = png(grey, depth, 0, interlaced=interlaced, chunks=[(b"tRNS", key)])
        for depth in (8, 16):
            for per_pixel, color_type, name in [(2, 4, "grey_alpha"), (3, 2, "rgb"), (4, 6, "rgba")]:
                files[f"{name}_{depth}{end}"] = png(samples(per_pixel, depth), depth, color_type, interlaced=interlaced)
        for depth in (1, 2, 4, 8):
            index, size = samples(1, depth), 2**depth
            plte = (b"PLTE", palette[: 3 * size])
            trns = (b"tRNS", alphas[: max(1, size - 1)])
            files[f"palette_{depth}{end}"] = png(index, depth, 3, interlaced=interlaced, chunks=[plte])
            files[f"palette_{depth}_alpha{end}"] = png(index, depth, 3, interlaced=interlaced, chunks=[plte, trns])
    rgb = samples(3, 8)
    files["rgb_8_key.png"] = png(rgb, 8, 2, chunks=[(b"tRNS", struct.pack(">3H", *map(int, rgb[5, 6])))])
    files["palette_short.png"] = png(samples(1, 8), 8, 3, chunks=[(b"PLTE", palette[:30])])
    files["rgb_1x1.png"] = png(rgb[:1, :1], 8, 2)
    files["rgba_interlaced_1x5.png"] = png(samples(4, 8)[:1, :5], 8, 6, interlaced=True)
    files["orientation_exif.png"] = png(rgb, 8, 2, chunks=[(b"eXIf", exif(6, ">"))])
    files["orientation_late.png"] = png(rgb, 8, 2, late=[(b"eXIf", exif(3, "<"))])
    files["orientation_xmp.png"] = png(rgb, 8, 2, chunks=[(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp(7))])
    profile = b"Exif\0\0" + exif(5, ">")
    raw = b"\nexif\n" + str(len(profile)).rjust(8).encode() + b"\n" + profile.hex().encode() + b"\n"
    packed = b"Raw profile type exif\0\0" + zlib.compress(raw)
    files["orientation_profile.png"] = png(rgb, 8, 2, chunks=[(b"zTXt", packed)])
    out = io.BytesIO()
    Image.fromarray(formula("wave", 40, 50, 3)).save(out, "PNG")
    files["pillow_rgb.png"] = out.getvalue()
    return files


def write_files(out: pathlib.Path, made_by: dict) -> None:
    cases = []
    for old in (out / "images").iterdir():
        old.unlink()
    for name, data in {**jpeg_files(), **png_files()}.items():
        path = out / "images" / name
        path.write_bytes(data)
        rgb = load_image(str(path))
        opened = Image.open(path)
        case = {"file": name, "mode": opened.mode, "width": rgb.width, "height": rgb.height, "rgb": sha(rgb.tobytes())}
        if "A" in opened.mode or "transparency" in opened.info:
            case["rgba"] = sha(ImageOps.exif_transpose(opened).convert("RGBA").tobytes())
        cases.append(case)
    save(out / "files.json", made_by, cases)


# ---- resampling -----------------------------------------------------------------------------------------------------


def write_resample_cases(out: pathlib.Path, made_by: dict) -> None:
    """Random sizes, all filters, 1, 3 and 4 channels (RGBA through PIL's premultiplied way)."""
    rng = np.random.default_rng(3)
    cases = []
    for i in range(240):
        height, width, to_height, to_width = (int(v) for v in np.exp(rng.uniform(0, np.log(500), 4)))
        channels, kind, resample = [1, 3, 4][i % 3], ["wave", "noise"][i % 2], i // 6 % 6
        if i % 11 == 0:
            to_width = width
        if i % 11 == 1:
            to_height = height
        array = formula(kind, height, width, channels)
        image = Image.fromarray(array[:, :, 0] if channels == 1 else array)
        result = image.resize((to_width, to_height), resample=resample)
        cases.append(
            {
                "picture": [kind, height, width, channels],
                "size": [to_height, to_width],
                "resample": resample,
                "sha256": sha(result.tobytes()),
            }
        )
    save(out / "resample.json", made_by, cases)


# ---- image processor ------------------------------------------------------------------------------------------------


def run(name: str, images: list, options: dict, by_file: bool = False) -> dict:
    """`images`: per sample a list of [kind, height, width, channels], or of file names."""
    folder = pathlib.Path(__file__).resolve().parent.parent / "test/fixtures/processing/images"
    call = {k: v for k, v in options.items() if k == "input_data_format"}
    processor = SmolVLMImageProcessor(**{k: v for k, v in options.items() if k not in call})
    inputs = [[str(folder / i) if by_file else formula(*i) for i in sample] for sample in images]
    case = {"name": name, "images": images, "options": options}
    try:
        result = processor(inputs, return_tensors="np", return_row_col_info=True, **call)
    except ValueError as error:
        return {**case, "error": str(error).split("\n")[0]}
    values, mask = result["pixel_values"], result["pixel_attention_mask"]
    assert values.dtype == np.float32 or not (processor.do_rescale or processor.do_normalize)
    return {
        **case,
        "dims": list(values.shape),
        "rows": result["rows"],
        "cols": result["cols"],
        "pixel_values": sha(np.ascontiguousarray(values.astype(np.float32)).tobytes()),
        "pixel_attention_mask": sha(np.ascontiguousarray(mask.astype(np.uint8)).tobytes()),
    }


SIZES = [(7, 300), (300, 7), (2, 2), (64, 64), (511, 513), (100, 100), (480, 640), (1023, 767), (17, 4100)]
LARGE = [(512, 512), (2000, 3000), (3000, 2000), (2048, 2048), (700, 2500)]


def write_processor_cases(out: pathlib.Path, made_by: dict) -> None:
    cases = []

    def add(name: str, images: list, options: dict, **more) -> None:
        cases.append(run(name, images, options, **more))

    for split in (True, False):
        word = "split" if split else "whole"
        for i, (height, width) in enumerate(SIZES):
            for kind in ("wave", "noise"):
                add(f"small {word} {height}x{width} {kind}", [[[kind, height, width, 3]]], {**SMALL, "do_image_splitting": split})
        for i, (height, width) in enumerate(SIZES + LARGE):
            kind = ["wave", "noise"][i % 2]
            add(f"real {word} {height}x{width} {kind}", [[[kind, height, width, 3]]], {**REAL, "do_image_splitting": split})
        for channels in (1, 4):
            for height, width in [(40, 60), (200, 90), (1200, 900)]:
                name = f"{channels} channels {word} {height}x{width}"
                add(name, [[["noise", height, width, channels]]], {**SMALL, "do_image_splitting": split})
        for height, width in [(1, 1), (1, 7), (3, 50), (4, 4), (5, 1), (3, 3), (1, 3000), (3, 4000)]:
            for channels in (1, 3, 4):
                name = f"taken for channels first {word} {height}x{width}x{channels}"
                add(name, [[["noise", height, width, channels]]], {**SMALL, "do_image_splitting": split})
        for file in [f"orientation_{n}.jpg" for n in range(1, 9)] + [
            "cmyk.jpg",
            "grey.jpg",
            "420_progressive.jpg",
            "rgba_8.png",
            "grey_alpha_8.png",
            "grey_16.png",
            "rgb_16.png",
            "palette_8_alpha.png",
            "palette_4_alpha_interlaced.png",
            "444_1x1.jpg",
            "rgb_1x1.png",
        ]:
            add(f"file {word} {file}", [[file]], {**SMALL, "do_image_splitting": split}, by_file=True)
    last = {"input_data_format": "channels_last"}
    add("channels last, 1 high", [[["noise", 1, 9, 3]]], {**SMALL, **last})
    add("channels last, 3 high", [[["noise", 3, 90, 4]]], {**SMALL, **last})
    for resample in range(6):
        add(f"filter {resample}", [[["noise", 150, 101, 3]]], {**SMALL, "resample": resample})
        add(f"filter {resample} RGBA", [[["noise", 150, 101, 4]]], {**SMALL, "resample": resample})
    add("not resized", [[["noise", 150, 101, 3]]], {**SMALL, "do_resize": False})
    add("resized to a size", [[["noise", 150, 101, 3]]], {**SMALL, "size": {"height": 100, "width": 130}})
    add("longest edge beyond 4096", [[["wave", 30, 50, 3]]], {"size": {"longest_edge": 5000}, "max_image_size": {"longest_edge": 512}})
    add("not rescaled", [[["noise", 50, 71, 3]]], {**SMALL, "do_rescale": False})
    add("not normalised", [[["noise", 50, 71, 3]]], {**SMALL, "do_normalize": False})
    add("levels", [[["noise", 50, 71, 3]]], {**SMALL, "do_rescale": False, "do_normalize": False})
    means = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
    add("other mean and deviation", [[["noise", 50, 71, 3]]], {**SMALL, **means})
    add("scalar mean, other factor", [[["noise", 50, 71, 3]]], {**SMALL, "image_mean": 0.4, "image_std": 0.3, "rescale_factor": 1 / 127})
    add("not converted", [[["noise", 50, 71, 3]]], {**SMALL, "do_convert_rgb": False})
    add("not converted, RGBA", [[["noise", 50, 71, 4]]], {**SMALL, "do_convert_rgb": False, "image_mean": 0.5, "image_std": 0.5})
    add("not converted, RGBA, three means", [[["noise", 50, 71, 4]]], {**SMALL, "do_convert_rgb": False})
    add("defaults", [[["wave", 300, 400, 3]]], {})
    batch = [[["wave", 60, 70, 3], ["noise", 90, 50, 4]], [["noise", 33, 200, 1]], [["wave", 64, 64, 3]] * 3]
    for split in (True, False):
        add(f"batch {'split' if split else 'whole'}", batch, {**SMALL, "do_image_splitting": split})
    save(out / "image_processor.json", made_by, cases)
