import type { S3Connection } from './s3_connection.ts';
import type { S3Listing } from './s3_list.ts';
import type { S3Marks } from './s3_marks.ts';

/** What all who work on one bucket share. */
export interface S3Bucket {
  readonly connection: S3Connection;
  readonly listing: S3Listing;
  readonly marks: S3Marks;
}
