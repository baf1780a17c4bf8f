/** One message, ready for the wire. */
export interface SyslogMessage {
  /** Without framing. */
  readonly bytes: Buffer;
  /** The same message in parts, where it is one that syslog-client can write: RFC 3164 with a host name. */
  readonly plain?: PlainMessage;
}

/** `<PRI>Mmm dd hh:mm:ss HOST CONTENT` */
export interface PlainMessage {
  readonly facility: number;
  readonly severity: number;
  readonly time: Date;
  readonly hostname: string;
  /** `tag[pid]: text` */
  readonly content: string;
}
