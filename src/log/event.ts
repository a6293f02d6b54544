// The tags of proto/millrace/v1/event.proto as they stand in a frame: field number << 3 | wire type.
// Writers may spend up to five bytes on a tag; these are its values, and its one byte as everyone writes it.

/** Frame.events: bytes with a length, one event each. */
export const EVENT_TAG = 0x0a

/** Fields of Event. Strings, data and attributes have a length before them; the two numbers are eight bytes. */
export const ID_TAG = 0x0a
export const SOURCE_TAG = 0x12
export const TYPE_TAG = 0x1a
export const SUBJECT_TAG = 0x22
export const TIME_UNIX_NANO_TAG = 0x29
export const VALUE_TAG = 0x31
export const DATA_TAG = 0x3a
export const DATACONTENTTYPE_TAG = 0x42
/** One entry of the map each. A name that comes twice has its last value. */
export const ATTRIBUTES_TAG = 0x4a

/** Fields of an entry of Event.attributes. Either may be missing, which makes it the empty string. */
export const ATTRIBUTE_NAME_TAG = 0x0a
export const ATTRIBUTE_VALUE_TAG = 0x12

// What CloudEvents tell apart and this format does not, kept beside it in fields that other readers pass over, so that
// an event comes back as it was sent (ingest/cloudevents.ts writes them, ingest/cloudevents-text.ts reads them).

/** Of an event: how its data was said, a varint, where datacontenttype does not say it (ingest/cloudevents-data.ts). */
export const DATA_FORM_TAG = 0x50
/** Of an entry of attributes: its type, a varint, where it is no string. */
export const ATTRIBUTE_KIND_TAG = 0x18
export const KIND_BOOLEAN = 1
export const KIND_INTEGER = 2
