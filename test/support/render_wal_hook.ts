/** Writes a hook for a test: `node render_wal_hook.ts push|fetch FACTS_JSON` → stdout. */

import {
  renderWalFetch,
  renderWalPush,
  type WalFetchFacts,
  type WalPushFacts,
} from '../../src/operations/archiving/wal_hooks.ts';

const [which, facts = '{}'] = process.argv.slice(2);
process.stdout.write(
  which === 'push'
    ? renderWalPush(JSON.parse(facts) as WalPushFacts)
    : renderWalFetch(JSON.parse(facts) as WalFetchFacts),
);
