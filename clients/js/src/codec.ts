/** A frame of Spark v1 (protocol.md): `type` is `category:name`, the rest depends on it. */
export interface Frame {
  type: string;
  id?: string;
  topic?: string;
  data?: any;
  [field: string]: unknown;
}

/** An encoding of frames, named by its WebSocket subprotocol. */
export interface Codec {
  readonly protocol: string;
  encode(frame: Frame): string | Uint8Array;
  /** @throws when the bytes are no frame. */
  decode(bytes: string | ArrayBuffer): Frame;
}

/** `spark.v1.json`: text frames. */
export const json: Codec = {
  protocol: 'spark.v1.json',
  encode: JSON.stringify,
  decode: JSON.parse as Codec['decode'],
};

/** A payload as it was sent: bytes reach JSON clients as base64, which a field beside them says. */
export function payload(value: any, { encoding }: Frame): any {
  return encoding === 'base64' ? Uint8Array.from(atob(value), (symbol) => symbol.charCodeAt(0)) : value;
}

