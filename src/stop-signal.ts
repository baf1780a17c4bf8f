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

type Output = Pick<NodeJS.WriteStream, 'isTTY'> & { readonly fd: number };

/**
 * SIGHUP has two meanings. A terminal that goes away sends it to what runs on it, and that ends, too. To a daemon logrotate and scripts
 * send it, so that it opens its files anew; that must never end it, whether it has files or not. Which one it is, the terminal tells.
 */
export function endWithTerminal(stop: AbortController, outputs: readonly Output[]): void {
  const terminals = outputs.filter(({ isTTY }) => isTTY);
  // One that has gone is no terminal any more.
  const isTerminal = (fd: number) => process.getBuiltinModule('node:tty').isatty(fd);
  process.on('SIGHUP', () => {
    // It comes twice, from the shell and from the kernel: the second is no wish to end at once.
    if (terminals.some(({ fd }) => !isTerminal(fd))) stop.abort('SIGHUP');
  });
}
