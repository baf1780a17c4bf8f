/** Preloaded into the agent: its main thread works 50 ms out of every 100, as if it parsed something large. */
import { isMainThread } from 'node:worker_threads';

if (isMainThread)
  setInterval(() => {
    const end = performance.now() + 50;
    while (performance.now() < end);
  }, 100).unref();
