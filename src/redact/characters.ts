/**
 * Whether a character is one of those that `pattern` matches, for a loop over a text: a table instead of a search for each.
 * There is none before and after the text.
 */
export function characterClass(pattern: RegExp): (text: string, at: number) => boolean {
  const ascii = Uint8Array.from({ length: 128 }, (_, code) =>
    pattern.test(String.fromCharCode(code)) ? 1 : 0,
  );
  return (text, at) => {
    const code = text.charCodeAt(at);
    return code < ascii.length ? ascii[code] === 1 : code >= ascii.length && pattern.test(text[at]!);
  };
}
