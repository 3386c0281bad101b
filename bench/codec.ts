/** What all contenders of the physical side are given. */

/** Ours and the peer's: what a backup is compressed with, and what a segment of the WAL is. */
export const baseLevel = 3;
export const walLevel = 1;
/** As many threads of ours as processes of the peer. */
export const threads = 2;
