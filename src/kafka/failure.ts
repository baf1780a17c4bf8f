import { shown } from '../format.ts';
import { NOT_KAFKA } from './broker-socket.ts';
import { kafkaJsAddress, shownAddress } from './brokers.ts';
import type { KafkaSettings } from './client.ts';

/** What kafkajs and Node.js put on their errors. */
interface KafkaFailure extends Error {
  /** Kafka's name of a protocol error. */
  readonly type?: string;
  /** Of the socket or of TLS; a number where it is Kafka's. */
  readonly code?: string | number;
  readonly broker?: string;
}

const LONGEST_REASON = 300;

/**
 * Kafka's errors that the same record meets at every try, whatever anybody mends: MESSAGE_TOO_LARGE and RECORD_LIST_TOO_LARGE
 * (the batch is larger than the topic takes, so it may be the batch and not the record), INVALID_RECORD.
 */
const OF_THE_RECORD: Readonly<Record<string, string>> = {
  MESSAGE_TOO_LARGE: 'it is larger than the topic takes (max.message.bytes)',
  RECORD_LIST_TOO_LARGE: "it is larger than one of the topic's segments (segment.bytes)",
  INVALID_RECORD: 'the broker does not accept this record (INVALID_RECORD)',
};

/** Why the broker will never take one of these records, or undefined where another try may succeed. */
export function refusalOf(error: unknown): string | undefined {
  return OF_THE_RECORD[rootOf(error).type ?? ''];
}

/**
 * Why it was not delivered this time, in words that name what can be mended.
 *
 * @param hasWorked something was delivered with these settings before: then they are not what is wrong
 */
export function reasonOf(error: unknown, settings: KafkaSettings, hasWorked = false): string {
  const root = rootOf(error);
  const broker = brokerOf(root, settings);
  return shown(
    protocolReason(root, settings) ??
      loginReason(root, settings) ??
      tlsReason(root, broker) ??
      connectionReason(root, broker, settings, hasWorked),
    LONGEST_REASON,
  );
}

/** kafkajs wraps what happened once for each of its loops. */
function rootOf(error: unknown): KafkaFailure {
  let root = error;
  while (root instanceof Error && root.name.startsWith('KafkaJS') && root.cause instanceof Error)
    root = root.cause;
  return root instanceof Error ? root : new Error(String(root));
}

function brokerOf({ broker }: KafkaFailure, { brokers }: KafkaSettings): string {
  const ours = brokers.filter((address) => broker === undefined || kafkaJsAddress(address) === broker);
  return ours.length === 0 ? String(broker) : ours.map(shownAddress).join(', ');
}

function protocolReason({ type, message }: KafkaFailure, { topic, sasl }: KafkaSettings): string | undefined {
  const who = sasl && 'username' in sasl ? `the user ${sasl.username}` : 'a client without a login';
  switch (type) {
    case undefined:
    case 'SASL_AUTHENTICATION_FAILED':
    case 'UNSUPPORTED_SASL_MECHANISM':
      return undefined;
    case 'UNKNOWN_TOPIC_OR_PARTITION':
      return `the topic ${topic} does not exist and the broker does not create it: create it, or mend --kafka-topic`;
    case 'LEADER_NOT_AVAILABLE':
    case 'NOT_LEADER_FOR_PARTITION':
      return `the topic ${topic} has no leader at the moment`;
    case 'NOT_ENOUGH_REPLICAS':
    case 'NOT_ENOUGH_REPLICAS_AFTER_APPEND':
      return `too few replicas of the topic ${topic} are in sync (min.insync.replicas)`;
    case 'REQUEST_TIMED_OUT':
      return `the replicas of the topic ${topic} did not confirm in time`;
    case 'TOPIC_AUTHORIZATION_FAILED':
      return `${who} may not write to the topic ${topic}: allow it Write and Describe`;
    // Asked for the idempotent producer's id: Kafka 3.0 gives it to whoever may write to some topic, the ones before want more.
    case 'CLUSTER_AUTHORIZATION_FAILED':
      return `${who} may not write: allow it Write and Describe on the topic ${topic} (before Kafka 3.0 IdempotentWrite on the cluster too, or --kafka-acks 1)`;
    case 'INVALID_TIMESTAMP':
      return "this machine's clock is too far from what the broker accepts";
    default:
      return `the broker answers ${type}: ${message}`;
  }
}

function loginReason({ name, type, message }: KafkaFailure, { sasl }: KafkaSettings): string | undefined {
  const isLogin = name === 'KafkaJSSASLAuthenticationError' || type?.includes('SASL');
  if (!isLogin) return undefined;
  if (!sasl)
    return `the broker wants a login: set --kafka-sasl-mechanism, --kafka-username and --kafka-password`;
  const user = 'username' in sasl ? sasl.username : '';
  return `the broker refuses the login of ${user} (${sasl.mechanism}): check --kafka-username and --kafka-password; it says: ${message}`;
}

const UNTRUSTED = [
  'SELF_SIGNED_CERT_IN_CHAIN',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'CERT_SIGNATURE_FAILURE',
];

function tlsReason({ code, message }: KafkaFailure, broker: string): string | undefined {
  if (typeof code !== 'string') return undefined;
  if (UNTRUSTED.includes(code))
    return `the certificate of ${broker} is not signed by an authority that is trusted here: check --kafka-ca (${code})`;
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID')
    return `the certificate of ${broker} is for another name: ${message}`;
  if (code.startsWith('CERT_')) return `the certificate of ${broker} is not valid (${code})`;
  if (/ALERT/.test(code))
    return `${broker} refuses the TLS connection: check --kafka-cert and --kafka-key (${code})`;
  if (/WRONG_VERSION_NUMBER|PACKET_LENGTH|RECORD_TOO/.test(code))
    return `${broker} does not speak TLS: use its TLS port, or leave TLS out (${code})`;
  return undefined;
}

function connectionReason(
  { name, code, message }: KafkaFailure,
  broker: string,
  { sasl, tls }: KafkaSettings,
  hasWorked: boolean,
): string {
  if (name === 'AbortError') return `no confirmation from ${broker} before the time to end`;
  if (name === 'TimeoutError' || name === 'KafkaJSRequestTimeoutError' || code === 'ETIMEDOUT')
    return `${broker} does not answer`;
  if (code === 'ECONNREFUSED')
    return `nothing listens at ${broker}: is the broker up, and is --kafka-brokers right?`;
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN')
    return `the name of ${broker} cannot be resolved: check --kafka-brokers`;
  const missing = [tls ? '' : 'TLS (--kafka-tls)', sasl ? '' : 'a login (--kafka-sasl-mechanism)'].filter(
    Boolean,
  );
  const hint = missing.length > 0 && !hasWorked ? `; does it want ${missing.join(' or ')}?` : '';
  if (code === NOT_KAFKA) return `${broker} does not answer as a Kafka broker does${hint}`;
  if (name === 'KafkaJSConnectionClosedError' || code === 'ECONNRESET')
    return `${broker} closed the connection${hint}`;
  return `${broker}: ${message}`;
}
