/** Where a long text may be cut so that its pieces have the tokens of the whole. */

type Config = Record<string, unknown>;

/** Characters tokenized at once: a few milliseconds. */
const PIECE_LENGTH = 4096;

/** One space between letters: the byte-level pattern of GPT-2 always splits before it, and merges stay within its parts. */
const GAP = /[A-Za-z](?= [A-Za-z])/g;

/** Whether a tokenizer.json splits at every gap, whatever stands around it. */
export function splitsAtGaps(json: Config, config: Config): boolean {
  const { normalizer, pre_tokenizer, added_tokens, model } = json as Record<
    string,
    Config | null | undefined
  >;
  const isPlainText = !normalizer && !config.remove_space && !config.do_lowercase_and_remove_accent;
  const parts = (
    pre_tokenizer?.type === 'Sequence' ? pre_tokenizer.pretokenizers : [pre_tokenizer]
  ) as Config[];
  const isBytes = (part: Config | null | undefined) =>
    part?.type === 'ByteLevel' && part.use_regex !== false && !part.add_prefix_space;
  const isKnown =
    Array.isArray(parts) &&
    parts.some(isBytes) &&
    parts.every((part) => isBytes(part) || part?.type === 'Digits');
  // A token that takes spaces along, or has one within, may reach over a gap.
  const tokens = (added_tokens ?? []) as unknown as Config[];
  const reaches = tokens.some(
    ({ content, lstrip, rstrip }) => lstrip || rstrip || / /.test(String(content ?? '')),
  );
  return isPlainText && isKnown && !reaches && model?.type === 'BPE' && !model.fuse_unk;
}

/** A text in pieces that end before a gap; one without gaps is one piece. */
export function* textPieces(text: string): Generator<string> {
  let from = 0;
  while (text.length - from > PIECE_LENGTH) {
    GAP.lastIndex = from + PIECE_LENGTH;
    const gap = GAP.exec(text);
    if (!gap) break;
    yield text.slice(from, gap.index + 1);
    from = gap.index + 1;
  }
  yield text.slice(from);
}
