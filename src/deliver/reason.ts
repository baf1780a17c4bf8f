/** An HTML error page is no reason. */
const LIMIT = 500;

/** One line of at most 500 characters that says why, with its cause: clients like to hide `ECONNREFUSED` behind `fetch failed`. */
export function reasonOf(error: unknown): string {
  const reasons: string[] = [];
  for (let cause = error, depth = 0; cause !== undefined && cause !== null && depth < 4; depth++) {
    const text = oneReason(cause);
    if (!reasons.some((reason) => reason.includes(text))) reasons.push(text);
    cause = (cause as { cause?: unknown }).cause;
  }
  return oneLine(reasons.join(': '));
}

export function oneLine(text: string): string {
  return text.replaceAll(/\s+/g, ' ').trim().slice(0, LIMIT) || 'no reason given';
}

function oneReason(error: unknown): string {
  if (!(error instanceof Error)) return typeof error === 'string' ? error : String(error);
  const { code } = error as { code?: unknown };
  return error.message || (typeof code === 'string' ? code : error.name);
}
