/** The settings of how far a command stands back for others on its machine. */

import type { Setting } from './setting.ts';

/** In the order in which they are told, among the general ones. */
export const kindnessTable = {
  nice: {
    schema: { type: 'integer', minimum: 0, maximum: 19 },
    env: ['NICE'],
    flag: 'nice',
    default: 0,
    description:
      'How far a command and the programs that it starts stand back for others on this machine: ' +
      '19 the farthest. The server is not among them; a higher value than it has already is kept.',
    example: 10,
  },
  io_class: {
    schema: { type: 'string', enum: ['none', 'best-effort', 'idle'] as const },
    env: ['IONICE'],
    default: 'none',
    description:
      'How far a command and the programs that it starts stand back at the disks of this ' +
      'machine, by ionice: best-effort with the lowest level, or idle. Only some schedulers of ' +
      'Linux (BFQ) ask for it.',
    example: 'idle',
  },
} as const satisfies Readonly<Record<string, Setting>>;
