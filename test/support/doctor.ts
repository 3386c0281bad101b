/** The doctor on a server of a test: what it found, and whether what it says to type helps. */

import { expect } from 'vitest';
import type { Finding } from '../../src/core/doctor.ts';
import type { TestCluster } from './cluster.ts';
import type { Outcome } from './command.ts';
import { jsonOf, type Workbench } from './workbench.ts';

/** The doctor's document. */
export interface DoctorReport {
  readonly exit_status: number;
  readonly findings: readonly Finding[];
  readonly settings: readonly {
    readonly name: string;
    readonly value: unknown;
    readonly origin: string;
    readonly written: string;
    readonly line: number | null;
    readonly alias_of: string | null;
  }[];
}

/** Runs the doctor. */
export async function examine(
  bench: Workbench,
  argv: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): Promise<DoctorReport & { readonly outcome: Outcome }> {
  const outcome = await bench.run('doctor', [...argv, '--json'], { environment });
  return { ...jsonOf<DoctorReport & object>(outcome), outcome };
}

/** The findings of one check. */
export function of(
  report: DoctorReport,
  check: Finding['check'],
  level?: Finding['level'],
): Finding[] {
  return report.findings.filter(
    (each) => each.check === check && (level === undefined || each.level === level),
  );
}

/** Types what the doctor says to type. */
export async function mend(
  cluster: TestCluster,
  findings: readonly Finding[],
  database = 'app',
): Promise<void> {
  for (const { mend: statement } of findings) {
    if (statement === null) throw new Error('nothing says what to type');
    expect(statement).not.toMatch(/\p{Cc}/u);
    await cluster.sql(statement, database);
  }
}
