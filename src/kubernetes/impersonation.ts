import { isObject } from './status.ts';

/**
 * What client-node leaves out of a kubeconfig's user who is to be somebody else: it sends the name alone (`as`), and whoever has
 * that name without the groups may do other things.
 *
 * @param user as it stands in the file
 * @returns headers, as client-go sends them
 * @throws Error that names the user and what is wrong with it
 */
export function impersonation(
  name: string,
  user: Readonly<Record<string, unknown>>,
): Record<string, string[]> {
  const { as, 'as-uid': uid, 'as-groups': groups, 'as-user-extra': extra } = user;
  const texts = (key: string, value: unknown): string[] => {
    if (Array.isArray(value) && value.every((each) => typeof each === 'string')) return value;
    throw new Error(`${key} of user ${name} is no list of texts.`);
  };
  const headers: Record<string, string[]> = {};
  if (uid) headers['Impersonate-Uid'] = [String(uid)];
  if (groups) headers['Impersonate-Group'] = texts('as-groups', groups);
  for (const [key, values] of Object.entries(isObject(extra) ? extra : {}))
    headers[`Impersonate-Extra-${encodeURIComponent(key)}`] = texts(`as-user-extra ${key}`, values);
  if (!as && Object.keys(headers).length > 0)
    throw new Error(
      `user ${name} has as-uid, as-groups or as-user-extra without as. Add as, or take them out.`,
    );
  return headers;
}
