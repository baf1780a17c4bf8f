/** Preloaded into the agent: its capture thread waits in open(2), for ever, as on a network mount that is dead: nobody writes to the pipe. */
import { openSync } from 'node:fs';
import { isMainThread } from 'node:worker_threads';

if (!isMainThread) openSync(process.env.PIPE as string, 'r');
