"""Inputs of a golden: deterministic random ones from a case description, or a picture and a prompt through the processor.

A case is a JSON object; everything but `rows` is optional:

    seed                   integer, default 0
    rows                   [{"images": 2, "text": 7}, ...]: `text` ids split into images + 1 chunks around the images.
                           `"slots": [1, 0, 1]` says which of the row's image slots hold a picture (the others are all zero);
                           by default the first `images` slots do. A row with 0 images is text only
    padding                "left" (default) or "right", for rows shorter than the longest
    image_size             [H, W] in pixels, default vision_config.image_size squared
    content                [[h, w] or null, ...] one entry per real picture in order: pixels beyond are zero and masked.
                           Without it no pixel_attention_mask is passed
    zero_images            true: every slot is all zero (text-only rows), to see what the reference does with that
    attention_mask         false leaves it out; attention_mask_dtype, pixel_mask_dtype: "bool", "int32", "float32", ...
    position_ids           "offset": row r counts from 3 + r; "mask": counted from the attention mask as generate does
    inputs_embeds          "with_ids" or "alone": the embeddings of the ids with noise on the text positions
    image_hidden_states    true: random states [n, T, D] in place of pixel_values
    labels                 true: the ids, with -100 on images, pads and about a fifth of the rest
    logits_to_keep         integer (0-dim) or list of indices (1-dim)
    cache_position         true: 0 ... S-1 passed explicitly
    new_tokens             greedy tokens, default 12; 0 leaves generation out
    unaligned              true: the file's header is written so that tensors start at odd offsets
"""

import torch


def _ids_of_row(row, tokens_per_image, vocab, forbidden, image_id, generator):
    """One row's ids: text chunks around the images."""
    allowed = torch.tensor([i for i in range(vocab) if i not in forbidden])
    count = int(sum(row["slots"])) if "slots" in row else row.get("images", 0)
    text = allowed[torch.randint(len(allowed), (row["text"],), generator=generator)]
    chunks = torch.tensor_split(text, count + 1)
    image = torch.full((tokens_per_image,), image_id)
    parts = []
    for i, chunk in enumerate(chunks):
        parts.append(chunk)
        if i < count:
            parts.append(image)
    return torch.cat(parts)


def _pad(rows, side, pad_id):
    """Rows of ids to [B, S] with the attention mask."""
    length = max(len(r) for r in rows)
    ids = torch.full((len(rows), length), pad_id)
    mask = torch.zeros((len(rows), length), dtype=torch.int64)
    for r, row in enumerate(rows):
        at = slice(length - len(row), length) if side == "left" else slice(0, len(row))
        ids[r, at] = row
        mask[r, at] = 1
    return ids, mask


def _pictures(case, height, width, generator):
    """pixel_values [B, N, 3, H, W] and, where the case has `content`, pixel_attention_mask [B, N, H, W]."""
    slots = [r["slots"] if "slots" in r else [1] * r.get("images", 0) for r in case["rows"]]
    most = max(max(len(s) for s in slots), 1 if case.get("zero_images") else 0)
    if most == 0:
        return None, None
    pixels = torch.zeros((len(slots), most, 3, height, width))
    mask = torch.zeros((len(slots), most, height, width), dtype=torch.bool)
    content = iter(case.get("content") or [])
    for r, row in enumerate(slots):
        for n, real in enumerate(row):
            if not real or case.get("zero_images"):
                continue
            h, w = next(content, None) or (height, width)
            bytes_ = torch.randint(256, (3, h, w), generator=generator).float()
            pixels[r, n, :, :h, :w] = (bytes_ / 255 - 0.5) / 0.5
            mask[r, n, :h, :w] = True
    return pixels, mask if case.get("content") else None


def build_inputs(model, case):
    """The keyword arguments of one forward call, from a case description (see the module's docstring)."""
    config = model.config
    vision, text = config.vision_config, config.text_config
    generator = torch.Generator().manual_seed(case.get("seed", 0))
    height, width = case.get("image_size") or [vision.image_size, vision.image_size]
    patches = (height // vision.patch_size) * (width // vision.patch_size)
    tokens_per_image = patches // config.scale_factor**2
    pad_id = text.pad_token_id if text.pad_token_id is not None else 0
    forbidden = {config.image_token_id, pad_id}
    rows = [
        _ids_of_row(r, tokens_per_image, text.vocab_size, forbidden, config.image_token_id, generator)
        for r in case["rows"]
    ]
    ids, mask = _pad(rows, case.get("padding", "left"), pad_id)
    inputs = {"input_ids": ids}
    if case.get("attention_mask", True):
        inputs["attention_mask"] = mask.to(getattr(torch, case.get("attention_mask_dtype", "int64")))
    pixels, pixel_mask = _pictures(case, height, width, generator)
    count = int((ids == config.image_token_id).sum()) // tokens_per_image
    if case.get("image_hidden_states"):
        inputs["image_hidden_states"] = torch.randn((count, tokens_per_image, text.hidden_size), generator=generator)
    elif pixels is not None:
        inputs["pixel_values"] = pixels
        if pixel_mask is not None:
            inputs["pixel_attention_mask"] = pixel_mask.to(getattr(torch, case.get("pixel_mask_dtype", "bool")))
    if case.get("inputs_embeds"):
        embeds = model.get_input_embeddings().weight[ids].float()
        noise = 0.5 * torch.randn(embeds.shape, generator=generator)
        inputs["inputs_embeds"] = torch.where((ids == config.image_token_id)[..., None], embeds, embeds + noise)
        if case["inputs_embeds"] == "alone":
            del inputs["input_ids"]
    if case.get("position_ids") == "offset":
        start = 3 + torch.arange(len(rows))[:, None]
        inputs["position_ids"] = start + torch.arange(ids.shape[1])[None, :]
    elif case.get("position_ids") == "mask":
        inputs["position_ids"] = (mask.cumsum(-1) - 1).masked_fill(mask == 0, 1)
    if case.get("labels"):
        drop = torch.rand(ids.shape, generator=generator) < 0.2
        inputs["labels"] = ids.masked_fill((mask == 0) | (ids == config.image_token_id) | drop, -100)
    if "logits_to_keep" in case:
        inputs["logits_to_keep"] = torch.tensor(case["logits_to_keep"], dtype=torch.int64)
    if case.get("cache_position"):
        inputs["cache_position"] = torch.arange(ids.shape[1])
    return inputs


def picture_inputs(folder, images, prompt):
    """The inputs of one chat turn about picture files, through the folder's own processor."""
    from PIL import Image
    from transformers import AutoProcessor

    processor = AutoProcessor.from_pretrained(folder)
    content = [{"type": "image"} for _ in images] + [{"type": "text", "text": prompt}]
    text = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    pictures = [Image.open(path) for path in images]
    batch = processor(text=text, images=[pictures] if pictures else None, return_tensors="pt")
    names = ("input_ids", "attention_mask", "pixel_values", "pixel_attention_mask")
    return {name: batch[name] for name in names if name in batch}
