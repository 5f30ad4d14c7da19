//! Every limit, in one place. Sizes that come from outside are checked against these before
//! anything is allocated.

/// Shortest side of a picture that can hold an ECG.
pub const SIDE_PX_MIN: usize = 64;
/// Longest side of a picture: A3 at 1200 dpi.
pub const SIDE_PX_MAX: usize = 20_000;
/// Most pixels that are decoded at full scale.
pub const PAGE_PX_MAX: usize = 16_000_000;
/// Bytes of one input file.
pub const FILE_BYTES_MAX: u64 = 256 << 20;
/// Pages of one TIFF.
pub const TIFF_PAGES_MAX: usize = 200;
/// Label boxes kept of one page.
pub const LABELS_MAX: usize = 128;
/// Traces of one page: 15 leads and 6 rhythm strips.
pub const TRACES_MAX: usize = 24;
/// Default peak resident size of the process.
pub const MEMORY_BUDGET_MIB: usize = 128;
/// Bytes of Exif data that are looked at.
pub const EXIF_BYTES_MAX: usize = 64 << 10;
/// Files of one folder, and pages of one batch.
pub const BATCH_PAGES_MAX: usize = 100_000;
/// Rows of one delivered record: ten minutes at 1000 Hz.
pub const ROWS_MAX: usize = 600_000;
/// Bytes of one native record.
pub const NATIVE_BYTES_MAX: usize = 32 << 20;
/// Widest overlay; a larger page is shown smaller.
pub const OVERLAY_WIDTH_PX_MAX: usize = 2_400;
/// Tallest overlay of a page, its strip not counted.
pub const OVERLAY_HEIGHT_PX_MAX: usize = 4_800;
/// Heap of the loaded nets, and what digitizing takes beside them and the page, all in all and for
/// each thread. Most of 35 pages to 12 megapixels: 17.4 MiB on one thread, 22.9 on two, 31.7 on four.
pub const NETS_BYTES: usize = 15 << 20;
const DIGITIZE_BYTES: usize = 14 << 20;
const DIGITIZE_THREAD_BYTES: usize = 5 << 20;
/// And at least, from two threads on: labels and lines are sought at once, and how far their most
/// falls together is chance. Alone they take 21 and 25 MiB, of which `NETS_BYTES` has 11.
const DIGITIZE_BESIDE_BYTES: usize = 35 << 20;

/// What digitizing takes beside the page and the loaded nets.
pub fn digitize_bytes(thread_count: usize) -> usize {
    let bytes = DIGITIZE_BYTES + thread_count * DIGITIZE_THREAD_BYTES;
    match thread_count {
        1 => bytes,
        _ => bytes.max(DIGITIZE_BESIDE_BYTES),
    }
}

/// Paper speeds and gains that an operator may give, least and most.
pub const SPEED_MM_S: [f32; 2] = [5.0, 200.0];
pub const GAIN_MM_MV: [f32; 2] = [1.0, 100.0];
/// Threads where the operator names no number: what the default budget has memory for.
pub const THREADS_UNASKED_MAX: usize = 4;
/// Bytes of one page image or record in the spool.
pub const SPOOL_BODY_BYTES_MAX: usize = 64 << 20;
/// Bytes of what a file of the spool says about its job.
pub const SPOOL_META_BYTES_MAX: usize = 4_096;
/// Jobs of one spool, whatever its quota; files of one of its folders.
pub const SPOOL_JOBS_MAX: usize = 20_000;
pub const SPOOL_FILES_MAX: usize = 100_000;
/// Jobs that are remembered after they were sent, and pages that are kept of them.
pub const SPOOL_SENT_MAX: usize = 10_000;
pub const SPOOL_KEPT_MAX: usize = 10_000;
/// Destinations of one spool, and bytes of a destination's name.
pub const SPOOL_DESTINATIONS_MAX: usize = 8;
pub const SPOOL_NAME_BYTES_MAX: usize = 32;
/// Bytes of a site's own name for a page, and of the reason why a record was parked.
pub const SPOOL_REFERENCE_BYTES_MAX: usize = 64;
pub const SPOOL_REASON_BYTES_MAX: usize = 200;
/// Times that digitizing a page is begun; a page that ends none of them is a bug's.
pub const SPOOL_ATTEMPTS_MAX: u32 = 2;
/// Bytes of one record on a link.
pub const LINK_RECORD_BYTES_MAX: usize = NATIVE_BYTES_MAX;
/// Records of which a receiver holds a part, and the devices that it serves at once.
pub const LINK_PARTS_MAX: usize = 64;
pub const LINK_CONNECTIONS_MAX: usize = 16;
/// Breaks of a line in a row that brought a record no further.
pub const LINK_BREAKS_MAX: usize = 3;
/// Until a connection is there, a line takes bytes, a record is further, a folder has it.
pub const LINK_CONNECT_MS_MAX: u64 = 10_000;
pub const LINK_WRITE_MS_MAX: u64 = 30_000;
pub const LINK_STANDSTILL_MS_MAX: u64 = 60_000;
pub const LINK_FOLDER_MS_MAX: u64 = 60_000;
/// Until a server or broker answers beside the time that a record's bytes take: usual, and longest.
pub const LINK_ANSWER_MS: u64 = 60_000;
pub const LINK_ANSWER_MS_MAX: u64 = 600_000;
/// A network that carries fewer bytes of a record than this is taken for broken.
pub const LINK_BYTES_PER_SECOND_MIN: u64 = 4_000;
/// Bytes and lines of the head of an HTTP answer; bytes of a packet from an MQTT broker.
pub const LINK_HEAD_BYTES_MAX: usize = 16 << 10;
pub const LINK_HEAD_LINES_MAX: usize = 64;
pub const LINK_PACKET_BYTES_MAX: u32 = 16 << 10;
/// Bytes of a token or a password.
pub const LINK_SECRET_BYTES_MAX: usize = 4 << 10;
/// Bytes of a URL, and of what the topics of a broker begin with.
pub const LINK_URL_BYTES_MAX: usize = 1_000;
pub const LINK_TOPIC_BYTES_MAX: usize = 200;
/// Seconds between signs of life to a broker, least and most.
pub const LINK_KEEP_ALIVE_S: [u16; 2] = [1, 600];
/// Without a byte from a device for this long, a receiver ends the connection.
pub const LINK_IDLE_MS_MAX: u64 = 600_000;
/// A source on its thread looks this often whether it is to give up.
pub const CAPTURE_STEP_MS_MAX: u64 = 200;
/// Longest that a source may be set to wait for its device; shortest that makes sense.
pub const CAPTURE_WAIT_MS: [u64; 2] = [100, 600_000];
/// Bytes of a captured page: what the spool takes.
pub const CAPTURE_PAGE_BYTES_MAX: usize = SPOOL_BODY_BYTES_MAX;
/// Pages of one filling of a feeder.
pub const CAPTURE_PAGES_MAX: usize = 500;
/// Frames that a camera may spoil in one capture, and that are left out at first.
pub const CAPTURE_BAD_FRAMES_MAX: usize = 20;
pub const CAPTURE_FIRST_FRAMES_MAX: usize = 200;
/// Pixels of the frame whose sharpness is measured; larger ones are made smaller first.
pub const SHARPNESS_PX_MAX: usize = 4_000_000;
/// A scan finer than this is averaged.
pub const SCAN_DPI_MAX: u32 = 300;
/// Devices of a sort that are looked at.
pub const CAPTURE_DEVICES_MAX: usize = 64;
/// Bytes that are kept of what a program says: the last of its complaints, all of its list.
pub const PROGRAM_SAID_BYTES_MAX: usize = 2_048;
pub const PROGRAM_LIST_BYTES_MAX: usize = 64 << 10;
/// A program that is told to end has this long before it is killed.
pub const PROGRAM_END_MS_MAX: u64 = 1_000;
/// Ends of jobs that wait to be taken in by the service.
pub const SERVICE_NEWS_MAX: usize = 16;
/// The front panel's thread looks this often for what it is to show.
pub const PANEL_STEP_MS: u64 = 20;
/// What the panel is told to show and has not taken up; edges that are taken in at once.
pub const PANEL_COMMANDS_MAX: usize = 16;
pub const PANEL_EDGES_MAX: usize = 64;
/// For so long a button's contacts may bounce, least and most.
pub const PANEL_DEBOUNCE_MS: [u64; 2] = [5, 200];
/// Names of lines in a message about one that is absent.
pub const PANEL_NAMES_MAX: usize = 64;
/// Until lines that failed are opened again, at first and at most.
pub const PANEL_REOPEN_MS: [u64; 2] = [1_000, 60_000];
/// The panel's thread is waited for at its end for no longer.
pub const PANEL_END_MS_MAX: u64 = 1_000;
/// Connections that are answered at once; heads and whole answers of the web and the socket.
pub const WEB_CONNECTIONS_MAX: usize = 16;
pub const WEB_HEAD_MS_MAX: u64 = 10_000;
pub const WEB_ANSWER_MS_MAX: u64 = 600_000;
/// Things asked of the service that wait for it.
pub const WEB_ASKS_MAX: usize = 8;
/// A part that has not moved for so long is stuck: the watchdog is fed no more.
pub const CAPTURE_STILL_MS_MAX: u64 = 60_000;
pub const DIGITIZE_STILL_MS_MAX: u64 = 120_000;
/// A delivery: this, and three times what a line of 9600 baud takes for its bytes.
pub const DELIVERY_STILL_MS_MAX: u64 = 900_000;
/// What `serve` may take while it digitizes a page and captures the next.
pub const SERVE_BUDGET_MIB: usize = 192;
/// Presses that wait for the service.
pub const PANEL_EVENTS_MAX: usize = 16;
/// Problems that are told of one configuration, and bytes that are read of it.
pub const CONFIG_PROBLEMS_MAX: usize = 50;
pub const CONFIG_BYTES_MAX: u64 = 1 << 20;
/// How long a file of a watched folder may be made to stand still.
pub const SETTLE_MS_MAX: u64 = 600_000;
/// Threads that the nets may be given.
pub const THREADS_MAX: usize = 64;
/// Entries of a folder of `/dev` that are listed.
pub const DEVICES_MAX: usize = 64;
