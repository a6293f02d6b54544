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
