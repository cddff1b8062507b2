/** The strings that stand for a picture in a prompt (`processing_smolvlm.py`). */
import { InputError } from '../errors.js';

export interface ImagePromptTokens {
  image_token: string;
  fake_image_token: string;
  global_image_token: string;
  /** `<image>` tokens per tile. */
  image_seq_len: number;
}

/** `get_image_prompt_string`: a split picture row by row and then the global image, or the global image alone. */
export function imagePromptString(rows: number, cols: number, tokens: ImagePromptTokens): string {
  const { image_token, fake_image_token, global_image_token, image_seq_len } = tokens;
  const tile = image_token.repeat(image_seq_len);
  const whole = fake_image_token + global_image_token + tile + fake_image_token;
  if (rows === 0 && cols === 0) return whole;
  let text = '';
  for (let row = 1; row <= rows; row++) {
    for (let col = 1; col <= cols; col++) text += `${fake_image_token}<row_${row}_col_${col}>${tile}`;
    text += '\n';
  }
  return `${text}\n${whole}`;
}

/** How many `<image>` a text has. */
export function countImageTokens(text: string, imageToken: string): number {
  return text.split(imageToken).length - 1;
}

/**
 * `expand_text_with_image_tokens` for one text. Throws InputError, with both numbers, unless the text has one `<image>`
 * per picture.
 */
export function expandImageTokens(
  text: string,
  rows: readonly number[],
  cols: readonly number[],
  tokens: ImagePromptTokens,
): string {
  const parts = text.split(tokens.image_token);
  if (parts.length - 1 !== rows.length) {
    throw new InputError({
      what: `number of ${tokens.image_token} in the text and of pictures differ`,
      where: 'text, images',
      expected: `${rows.length} in the text, one per picture`,
      got: String(parts.length - 1),
    });
  }
  return rows.reduce(
    (sum, count, i) => sum + imagePromptString(count, cols[i], tokens) + parts[i + 1],
    parts[0],
  );
}
