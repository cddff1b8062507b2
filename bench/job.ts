import type { Configuration, ConfiguredPart } from './configuration.js';
import type { Row } from './report.js';
import type { Size } from './sizes.js';

/** What one child process measures: a configuration of a size, alone in its memory. */
export interface Job {
  readonly part: ConfiguredPart;
  readonly size: Size;
  /** The checkpoint; layers make their own. */
  readonly folder: string;
  readonly configuration: Configuration;
}

/** What a child says: figures as they come, and figures that the parent puts together. */
export type Message = { readonly row: Row } | { readonly figures: Figures };

export type Figures = Readonly<Record<string, number>>;

export type Say = (message: Message) => void;
