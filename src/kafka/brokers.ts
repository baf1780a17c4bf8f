import * as v from 'valibot';
import type { BrokerAddress } from './broker-socket.ts';

const EXPECTED = 'must be HOST:PORT, several separated by commas, an IPv6 address in brackets ([::1]:9092)';
const ADDRESS = /^(?:\[([\da-f:.]+)\]|([^\s:[\]/@]+)):(\d{1,5})$/i;

/** `host:9092,[::1]:9092` -> addresses, the IPv6 ones without their brackets. */
export const brokerList = v.pipe(
  v.string(),
  v.rawTransform(({ dataset, addIssue, NEVER }): readonly BrokerAddress[] => {
    const brokers: BrokerAddress[] = [];
    for (const text of dataset.value.split(',')) {
      const [, ipv6, name, digits] = ADDRESS.exec(text.trim()) ?? [];
      const host = ipv6 ?? name;
      const port = Number(digits);
      if (host === undefined || port < 1 || port > 65_535) {
        addIssue({ message: EXPECTED });
        return NEVER;
      }
      brokers.push({ host, port });
    }
    return brokers;
  }),
);

/** As people write it. */
export function shownAddress({ host, port }: BrokerAddress): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}

/** As kafkajs takes it: it cuts an address at the first colon, so that an IPv6 address needs a name without one. */
export function kafkaJsAddress({ host, port }: BrokerAddress): string {
  return `${kafkaJsHost(host)}:${port}`;
}

export function kafkaJsHost(host: string): string {
  return host.replaceAll(':', '_');
}
