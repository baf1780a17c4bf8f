import { OptionError } from '../config/option.ts';
import type { TlsMaterial } from './http-post.ts';
import { crypto, tls } from './lazy-builtins.ts';

/**
 * The PEM texts of the options `--PREFIX-ca`, `--PREFIX-cert` and `--PREFIX-key`, checked.
 *
 * @returns undefined where none of the three is set
 * @throws OptionError for what is not usable, and for a certificate without its key or the reverse
 */
export function tlsMaterial(
  prefix: string,
  values: Readonly<Record<string, unknown>>,
): TlsMaterial | undefined {
  const options = { ca: `${prefix}-ca`, cert: `${prefix}-cert`, key: `${prefix}-key` };
  const ca = values[options.ca] as string | undefined;
  const cert = values[options.cert] as string | undefined;
  const key = values[options.key] as string | undefined;
  if (cert !== undefined && key === undefined) throw missing(options.cert, options.key);
  if (key !== undefined && cert === undefined) throw missing(options.key, options.cert);
  // An authority that cannot be read would be passed over in silence, and every connection fail later.
  if (ca !== undefined) usable(options.ca, () => new (crypto().X509Certificate)(ca));
  if (cert !== undefined) usable(options.cert, () => tls().createSecureContext({ cert, key }));
  if (ca === undefined && cert === undefined) return undefined;
  return { ...(ca === undefined ? {} : { ca }), ...(cert === undefined ? {} : { cert, key }) };
}

function missing(option: string, partner: string): OptionError {
  return new OptionError(option, `--${option} is set but --${partner} is not. Add --${partner} PATH.`);
}

function usable(option: string, load: () => unknown): void {
  try {
    load();
  } catch (error) {
    throw new OptionError(option, `--${option}: not usable PEM: ${(error as Error).message}`);
  }
}
