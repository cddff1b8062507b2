/**
 * How many rows a tile has, as a type. A count that is an argument would be resolved after Binaryen has folded the ends
 * of a function's tiles into one, which then asks in its inner loop how many rows it has (3 rows with a fused
 * multiply-add: 1.4 times as long).
 */
@unmanaged
export class One {
  r0: u8;
}
@unmanaged
export class Two extends One {
  r1: u8;
}
@unmanaged
export class Three extends Two {
  r2: u8;
}
@unmanaged
export class Four extends Three {
  r3: u8;
}
@unmanaged
export class Five extends Four {
  r4: u8;
}
@unmanaged
export class Six extends Five {
  r5: u8;
}

/** The count that a type stands for: its size. */
// @ts-ignore: decorator
@inline
export function rowsOf<Rows>(): usize {
  return offsetof<Rows>();
}
