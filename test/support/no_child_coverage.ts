/**
 * Leaves the programs that tests start as they are for users, and as fast: the opposite of
 * child_coverage.ts, for what is killed or timed. A setup file.
 */

delete process.env.NODE_V8_COVERAGE;
