"""Writes test/fixtures/processing/: picture files with the pixels that Pillow makes of them, what transformers'
SmolVLMImageProcessor makes of pictures (as hashes), and the ids and prompts of tokenizer and processor.

Usage: python python/make_processing_golden.py [--shared DIR]

DIR (default ../shared beside the project, or $SMOLVLM_SHARED) may hold checkpoints/SmolVLM-256M-Instruct; without it the
expectations made from those files are left as they are.
"""

import argparse
import os
import pathlib
import warnings

import PIL
import tokenizers
import transformers
from processing_image_golden import write_files, write_processor_cases, write_resample_cases
from processing_text_golden import write_text_cases

ROOT = pathlib.Path(__file__).resolve().parent.parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", default=os.environ.get("SMOLVLM_SHARED", str(ROOT.parent / "shared")))
    parser.add_argument("--only", choices=["files", "resample", "images", "text"])
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()

    out = ROOT / "test" / "fixtures" / "processing"
    (out / "images").mkdir(parents=True, exist_ok=True)
    made_by = {
        "transformers": transformers.__version__,
        "pillow": PIL.__version__,
        "tokenizers": tokenizers.__version__,
    }
    if args.only in (None, "files"):
        write_files(out, made_by)
    if args.only in (None, "resample"):
        write_resample_cases(out, made_by)
    if args.only in (None, "images"):
        write_processor_cases(out, made_by)
    if args.only in (None, "text"):
        write_text_cases(out, made_by, pathlib.Path(args.shared) / "checkpoints" / "SmolVLM-256M-Instruct")


if __name__ == "__main__":
    main()
