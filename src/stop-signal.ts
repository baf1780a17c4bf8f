const SIGNALS = { SIGINT: 130, SIGTERM: 143 } as const;

/** The first signal asks; the second does not wait for what the first began. */
export function stopSignal(): AbortController {
  const stop = new AbortController();
  for (const [name, code] of Object.entries(SIGNALS))
    process.on(name, () => {
      if (stop.signal.aborted) process.exit(code);
      stop.abort(name);
    });
  return stop;
}
