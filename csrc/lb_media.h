/* lb_media.h - what an inline picture, sound or document is, from its first bytes.
 *
 * Chat messages carry media as base64 text.  To price them we need pixels,
 * milliseconds or pages, and those stand near the start of the file: nothing is
 * decoded but the bytes looked at, nothing is allocated or copied.
 *
 *     data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAoAAAAHg...
 *          |-- type -|      |-- payload: base64_byte(k) decodes one byte at k --|
 *
 * Read here: PNG, GIF, JPEG (to its frame header), WebP (VP8, VP8L, VP8X) and
 * WAV.  Sizes come from untrusted input: every answer is clamped, every walk is
 * bounded.
 */
#ifndef LB_MEDIA_H
#define LB_MEDIA_H

#include <stddef.h>

#include "lb_base.h"

enum lb_media_kind {
    LB_MEDIA_NONE, /* not a data: URI */
    LB_MEDIA_IMAGE,
    LB_MEDIA_AUDIO,
    LB_MEDIA_PDF,
    LB_MEDIA_TEXT,
    LB_MEDIA_OTHER, /* a data: URI of another type */
};

typedef struct lb_media {
    enum lb_media_kind kind;
    int32_t w, h;  /* pixels of an image; 0 when the header says nothing */
    int64_t ms;    /* length of a sound; guessed from its size if not WAV */
    int64_t pages; /* of a PDF, guessed from its size; at least 1 */
    int64_t bytes; /* size of the payload once decoded */
} lb_media;

#define LB_MEDIA_SOUND_BPS  16000 /* bytes a second of an unknown codec: 128 kbit/s */
#define LB_MEDIA_PAGE_BYTES 50000 /* bytes of a PDF page; text is less, scans more */

/* Read a whole data: URI of `n` bytes.  Anything else gives LB_MEDIA_NONE. */
lb_media lb_media_uri(const uint8_t *s, size_t n);

/* Read a bare base64 payload of `n` bytes, known to be of `kind`. */
lb_media lb_media_base64(enum lb_media_kind kind, const uint8_t *s, size_t n);

#endif /* LB_MEDIA_H */
