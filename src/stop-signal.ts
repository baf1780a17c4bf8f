const SIGNALS = { SIGINT: 130, SIGTERM: 143 } as const;

/**
 * One wish may come twice: Ctrl-C reaches everybody on the terminal, and npm passes on to us what it gets (0.3 ms apart); timeout(1)
 * signals its child and its group.
 */
const SAME_WISH_SECONDS = 0.5;

/** The first signal asks; the second does not wait for what the first began. */
export function stopSignal(host: Pick<NodeJS.Process, 'on' | 'exit' | 'uptime'> = process): AbortController {
  const stop = new AbortController();
  let askedAt = 0;
  for (const [name, code] of Object.entries(SIGNALS))
    host.on(name, () => {
      if (!stop.signal.aborted) askedAt = host.uptime();
      else if (host.uptime() - askedAt > SAME_WISH_SECONDS) host.exit(code);
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
