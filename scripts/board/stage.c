/* The test side's program on the emulated board: what stands before the camera.
 *
 *   stage show OUTPUT CAMERA PAGE.ppm    joins vivid's HDMI output to its HDMI input, and shows the
 *                                        page, in the middle of white, until it is ended
 *   stage grab CAMERA FRAMES FILE        keeps the last of so many frames, YUYV; says its size
 *   stage sync FILE                      a file or a folder, durable
 *
 * One line on standard output when a part is ready; an error is told in words, with status 1. */
#include <errno.h>
#include <fcntl.h>
#include <linux/videodev2.h>
#include <poll.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

/* The format of CEA-861's 1920 x 1080 at 24 Hz; white in YUYV. */
enum { WIDTH = 1920, HEIGHT = 1080, BUFFERS = 2, FRAME_MS_MAX = 20000 };
enum { BYTES = 2 * WIDTH * HEIGHT, SIDE_MAX = 8192 };

static void fail(const char *form, ...)
{
    va_list values;
    va_start(values, form);
    fprintf(stderr, "stage: ");
    vfprintf(stderr, form, values);
    fprintf(stderr, ": %s\n", strerror(errno));
    exit(1);
}

static int opened(const char *path)
{
    int file = open(path, O_RDWR);
    if (file < 0)
        fail("%s", path);
    return file;
}

static void request(int file, unsigned long what, void *with, const char *name)
{
    if (ioctl(file, what, with) != 0)
        fail("%s", name);
}

/* Sets a control by its name: vivid's own have no constants in the headers. */
static void control(int file, const char *name, int value)
{
    struct v4l2_queryctrl found = { .id = V4L2_CTRL_FLAG_NEXT_CTRL };
    for (; ioctl(file, VIDIOC_QUERYCTRL, &found) == 0; found.id |= V4L2_CTRL_FLAG_NEXT_CTRL) {
        if (strcmp((const char *)found.name, name) == 0) {
            struct v4l2_control set = { .id = found.id, .value = value };
            request(file, VIDIOC_S_CTRL, &set, name);
            return;
        }
    }
    fail("no control %s", name);
}

/* Both ends of a loop must agree, or the camera sees noise. */
static void set_format(int file, enum v4l2_buf_type type)
{
    struct v4l2_dv_timings timings = {
        .type = V4L2_DV_BT_656_1120,
        .bt = { .width = WIDTH, .height = HEIGHT, .interlaced = 0,
            .polarities = V4L2_DV_VSYNC_POS_POL | V4L2_DV_HSYNC_POS_POL, .pixelclock = 74250000,
            .hfrontporch = 638, .hsync = 44, .hbackporch = 148,
            .vfrontporch = 4, .vsync = 5, .vbackporch = 36,
            .standards = V4L2_DV_BT_STD_CEA861, .flags = V4L2_DV_FL_CAN_REDUCE_FPS },
    };
    request(file, VIDIOC_S_DV_TIMINGS, &timings, "timings");
    struct v4l2_format format = { .type = type };
    request(file, VIDIOC_G_FMT, &format, "format");
    format.fmt.pix.width = WIDTH;
    format.fmt.pix.height = HEIGHT;
    format.fmt.pix.pixelformat = V4L2_PIX_FMT_YUYV;
    format.fmt.pix.field = V4L2_FIELD_NONE;
    request(file, VIDIOC_S_FMT, &format, "format");
    if (format.fmt.pix.sizeimage != BYTES || format.fmt.pix.pixelformat != V4L2_PIX_FMT_YUYV) {
        errno = EINVAL;
        fail("the format became %u x %u", format.fmt.pix.width, format.fmt.pix.height);
    }
}

static int number(FILE *file)
{
    int value;
    if (fscanf(file, " %d", &value) != 1 || value < 1 || value > SIDE_MAX)
        fail("not a PPM");
    return value;
}

static uint8_t level(double value)
{
    return value < 0 ? 0 : value > 255 ? 255 : (uint8_t)(value + 0.5);
}

/* A PPM (P6, 255) as YUYV of BT.709, limited range: what HDMI carries at this size. */
static void read_page(const char *path, uint8_t *to)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        fail("%s", path);
    if (fgetc(file) != 'P' || fgetc(file) != '6')
        fail("%s is no PPM", path);
    int width = number(file), height = number(file);
    if (number(file) != 255 || width > WIDTH || height > HEIGHT)
        fail("%s is larger than %d x %d", path, WIDTH, HEIGHT);
    fgetc(file);
    for (size_t k = 0; k < BYTES; k += 2) {
        to[k] = 235;
        to[k + 1] = 128;
    }
    int left = (WIDTH - width) / 2 & ~1, top = (HEIGHT - height) / 2;
    uint8_t row[3 * WIDTH];
    for (int y = 0; y < height; y++) {
        if (fread(row, 3, width, file) != (size_t)width)
            fail("%s is cut off", path);
        uint8_t *out = to + 2 * ((size_t)(top + y) * WIDTH + left);
        for (int x = 0; x < width; x++) {
            double r = row[3 * x] / 255.0, g = row[3 * x + 1] / 255.0, b = row[3 * x + 2] / 255.0;
            double luma = 0.2126 * r + 0.7152 * g + 0.0722 * b;
            double chroma = x % 2 == 0 ? (b - luma) / 1.8556 : (r - luma) / 1.5748;
            out[2 * x] = level(16 + 219 * luma);
            out[2 * x + 1] = level(128 + 224 * chroma);
        }
    }
    fclose(file);
}

/* Buffers of a stream, mapped; all are queued and the stream is on. */
static void start(int file, enum v4l2_buf_type type, uint8_t *at[BUFFERS], const uint8_t *filled)
{
    struct v4l2_requestbuffers asked = { .count = BUFFERS, .type = type, .memory = V4L2_MEMORY_MMAP };
    request(file, VIDIOC_REQBUFS, &asked, "buffers");
    if (asked.count != BUFFERS)
        fail("%u buffers", asked.count);
    for (unsigned k = 0; k < BUFFERS; k++) {
        struct v4l2_buffer buffer = { .index = k, .type = type, .memory = V4L2_MEMORY_MMAP };
        request(file, VIDIOC_QUERYBUF, &buffer, "buffer");
        at[k] = mmap(NULL, buffer.length, PROT_READ | PROT_WRITE, MAP_SHARED, file, buffer.m.offset);
        if (at[k] == MAP_FAILED || buffer.length < BYTES)
            fail("a buffer of %u bytes", buffer.length);
        if (filled)
            memcpy(at[k], filled, BYTES);
        buffer.bytesused = BYTES;
        buffer.field = V4L2_FIELD_NONE;
        request(file, VIDIOC_QBUF, &buffer, "queue");
    }
    request(file, VIDIOC_STREAMON, &type, "start");
}

static struct v4l2_buffer next(int file, enum v4l2_buf_type type)
{
    struct pollfd wait = { .fd = file, .events = POLLIN | POLLOUT };
    if (poll(&wait, 1, FRAME_MS_MAX) != 1)
        fail("no frame in %d ms", FRAME_MS_MAX);
    struct v4l2_buffer buffer = { .type = type, .memory = V4L2_MEMORY_MMAP };
    request(file, VIDIOC_DQBUF, &buffer, "frame");
    return buffer;
}

static void show(const char *output, const char *camera, const char *page)
{
    static uint8_t frame[BYTES];
    enum v4l2_buf_type type = V4L2_BUF_TYPE_VIDEO_OUTPUT;
    read_page(page, frame);
    int in = opened(camera), out = opened(output);
    set_format(in, V4L2_BUF_TYPE_VIDEO_CAPTURE);
    control(in, "OSD Text Mode", 2);
    control(in, "Loop Video", 1);
    close(in);
    set_format(out, type);
    uint8_t *at[BUFFERS];
    start(out, type, at, frame);
    puts("showing");
    fflush(stdout);
    for (;;) {
        struct v4l2_buffer buffer = next(out, type);
        buffer.bytesused = BYTES;
        buffer.field = V4L2_FIELD_NONE;
        request(out, VIDIOC_QBUF, &buffer, "queue");
    }
}

static void grab(const char *camera, int frames, const char *path)
{
    enum v4l2_buf_type type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
    int in = opened(camera);
    struct v4l2_format format = { .type = type };
    request(in, VIDIOC_G_FMT, &format, "format");
    printf("%u %u\n", format.fmt.pix.width, format.fmt.pix.height);
    uint8_t *at[BUFFERS];
    start(in, type, at, NULL);
    for (int k = 1; k <= frames; k++) {
        struct v4l2_buffer buffer = next(in, type);
        if (k == frames) {
            FILE *file = fopen(path, "wb");
            if (!file || fwrite(at[buffer.index], 1, BYTES, file) != BYTES || fclose(file) != 0)
                fail("%s", path);
            return;
        }
        request(in, VIDIOC_QBUF, &buffer, "queue");
    }
}

static void sync_file(const char *path)
{
    int file = open(path, O_RDONLY);
    if (file < 0 || fsync(file) != 0)
        fail("%s", path);
}

int main(int count, char **words)
{
    const char *what = count > 1 ? words[1] : "";
    if (strcmp(what, "show") == 0 && count == 5)
        show(words[2], words[3], words[4]);
    else if (strcmp(what, "grab") == 0 && count == 5)
        grab(words[2], atoi(words[3]), words[4]);
    else if (strcmp(what, "sync") == 0 && count == 3)
        sync_file(words[2]);
    else
        return fprintf(stderr, "stage: show, grab or sync; see stage.c\n"), 2;
    return 0;
}
