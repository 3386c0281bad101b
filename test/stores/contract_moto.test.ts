import { bucketContract } from './bucket_contract.ts';

bucketContract('moto', { refusesRaces: true, faults: ['line breaks'] });
