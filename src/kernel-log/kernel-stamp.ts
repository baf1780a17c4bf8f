/** The kernel's own clock in a line: `[   27.287451] `, seconds since the boot. */

/** CONFIG_PRINTK_CALLER: which task or CPU printed it. Some kernels print the CPU before the task. */
const CALLER = /(?:\[ *\d+\] )?\[ *[TC]\d+\] /y;
const OPEN = 0x5b;
const CLOSE = 0x5d;
const DOT = 0x2e;
const SPACE = 0x20;
const ZERO = 0x30;

/** `[   27.287451] `, the kernel's own stamp. Every line has one, and a regular expression takes three times as long. */
export function stampAt(
  line: string,
  start: number,
): { readonly timestampUs: number | undefined; readonly end: number } | undefined {
  if (line.charCodeAt(start) !== OPEN) return undefined;
  let at = start + 1;
  while (line.charCodeAt(at) === SPACE) at += 1;
  const seconds = at;
  let us = 0;
  for (let digit = digitAt(line, at); digit >= 0; digit = digitAt(line, at)) {
    us = us * 10 + digit;
    at += 1;
  }
  const dot = at;
  if (dot === seconds || line.charCodeAt(dot) !== DOT) return undefined;
  for (at = dot + 1; at <= dot + 6; at++) {
    const digit = digitAt(line, at);
    if (digit < 0) return undefined;
    us = us * 10 + digit;
  }
  if (line.charCodeAt(at) !== CLOSE) return undefined;
  at += line.charCodeAt(at + 1) === SPACE ? 2 : 1;
  CALLER.lastIndex = at;
  if (line.charCodeAt(at) === OPEN && CALLER.test(line)) at = CALLER.lastIndex;
  return { timestampUs: Number.isSafeInteger(us) ? us : undefined, end: at };
}

/** @returns less than 0 where there is none */
function digitAt(text: string, at: number): number {
  const digit = text.charCodeAt(at) - ZERO;
  return digit <= 9 ? digit : -1;
}

/** @returns undefined when it is too large to be exact */
export function microseconds(seconds: string, fraction: string): number | undefined {
  const us = Number(seconds) * 1e6 + Number(fraction.slice(0, 6).padEnd(6, '0'));
  return Number.isSafeInteger(us) ? us : undefined;
}
