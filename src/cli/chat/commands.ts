/** What may be typed behind a slash. */
import { nearest } from '../suggestion.js';

export const COMMANDS = {
  '/image': ['PATH', 'a picture for the next question'],
  '/video': ['PATH', 'a video for the next question'],
  '/system': ['TEXT', 'what the model is told before everything else; - for nothing'],
  '/undo': ['', 'takes the last question back, with its answer'],
  '/retry': ['', 'answers the last question again'],
  '/edit': ['TEXT', 'another text for the last question, answered anew'],
  '/history': ['', 'what was said'],
  '/usage': ['', 'tokens and times of the last answer'],
  '/save': ['FILE', 'saves the conversation with its pictures'],
  '/load': ['FILE', 'goes on with a saved conversation'],
  '/reset': ['', 'begins anew'],
  '/help': ['', 'this list'],
  '/quit': ['', 'leaves, as Ctrl-D does'],
} as const satisfies Record<string, readonly [argument: string, meaning: string]>;

export type CommandName = keyof typeof COMMANDS;

export const COMMAND_NAMES = Object.keys(COMMANDS) as CommandName[];

/** Other names that people try. */
const ALIASES: Readonly<Record<string, CommandName>> = {
  '/?': '/help',
  '/exit': '/quit',
  '/bye': '/quit',
  '/q': '/quit',
  '/clear': '/reset',
};

export type ParsedCommand =
  | { type: 'command'; name: CommandName; argument: string }
  | { type: 'unknown'; name: string; near: string | undefined };

/** A command line; undefined for a line that is a question. A path from the root is no command. */
export function parseCommand(line: string): ParsedCommand | undefined {
  const match = /^(\/[a-z?]+)(?:\s+([\s\S]*))?$/i.exec(line);
  if (!match) return undefined;
  const typed = match[1].toLowerCase();
  const argument = (match[2] ?? '').trim();
  const name = Object.hasOwn(COMMANDS, typed) ? (typed as CommandName) : ALIASES[typed];
  if (name) return { type: 'command', name, argument };
  return { type: 'unknown', name: match[1], near: nearest(typed, COMMAND_NAMES) };
}
