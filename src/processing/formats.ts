/** Recognising picture formats by their first bytes. */

/** Formats that are decoded; every other one is named in the error that refuses it. */
export type DecodableFormat = 'JPEG' | 'PNG';

interface Signature {
  format: string;
  offset: number;
  /** Latin-1. */
  bytes: string;
}

const SIGNATURES: Signature[] = [
  { format: 'PNG', offset: 0, bytes: '\x89PNG\r\n\x1a\n' },
  { format: 'JPEG', offset: 0, bytes: '\xff\xd8\xff' },
  { format: 'GIF', offset: 0, bytes: 'GIF87a' },
  { format: 'GIF', offset: 0, bytes: 'GIF89a' },
  { format: 'WebP', offset: 8, bytes: 'WEBP' },
  { format: 'BMP', offset: 0, bytes: 'BM' },
  { format: 'TIFF', offset: 0, bytes: 'II*\0' },
  { format: 'TIFF', offset: 0, bytes: 'MM\0*' },
  { format: 'AVIF', offset: 4, bytes: 'ftypavif' },
  { format: 'AVIF', offset: 4, bytes: 'ftypavis' },
  { format: 'HEIC', offset: 4, bytes: 'ftyphei' },
  { format: 'HEIC', offset: 4, bytes: 'ftyphev' },
  { format: 'HEIC', offset: 4, bytes: 'ftypmif1' },
  { format: 'HEIC', offset: 4, bytes: 'ftypmsf1' },
  { format: 'MP4 video', offset: 4, bytes: 'ftyp' },
  { format: 'JPEG XL', offset: 0, bytes: '\xff\x0a' },
  { format: 'JPEG XL', offset: 4, bytes: 'JXL \r\n\x87\n' },
  { format: 'JPEG 2000', offset: 4, bytes: 'jP  \r\n\x87\n' },
  { format: 'JPEG 2000', offset: 0, bytes: '\xff\x4f\xff\x51' },
  { format: 'ICO', offset: 0, bytes: '\0\0\x01\0' },
  { format: 'PSD', offset: 0, bytes: '8BPS' },
  { format: 'QOI', offset: 0, bytes: 'qoif' },
  { format: 'PDF', offset: 0, bytes: '%PDF' },
  { format: 'gzip', offset: 0, bytes: '\x1f\x8b' },
  { format: 'zip', offset: 0, bytes: 'PK\x03\x04' },
  { format: 'SVG', offset: 0, bytes: '<svg' },
  { format: 'HTML', offset: 0, bytes: '<!DOCTYPE html' },
  { format: 'HTML', offset: 0, bytes: '<!doctype html' },
  { format: 'HTML', offset: 0, bytes: '<html' },
  { format: 'XML', offset: 0, bytes: '<?xml' },
];

/** The name of the format that the bytes begin like; undefined for an unknown one. */
export function detectFormat(bytes: Uint8Array): string | undefined {
  return SIGNATURES.find(({ offset, bytes: wanted }) => {
    for (let i = 0; i < wanted.length; i++) if (bytes[offset + i] !== wanted.charCodeAt(i)) return false;
    return true;
  })?.format;
}
