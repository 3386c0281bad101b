import { bucketContract } from './bucket_contract.ts';

// The gateway itself, on SQLite and without a cluster, is new: these three are faults of that.
bucketContract('radosgw', {
  refusesRaces: false,
  faults: ['ranges', 'pages of a level', 'list of uploads'],
});
