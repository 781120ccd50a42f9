//! Frames without a connection around them, for those who keep fragmentation, answers and closing in their own hands:
//! [`FrameReader`] and [`FrameWriter`] over the two halves of a byte stream whose opening handshake is done.
//!
//! What they do: the rules on a header (RFC 6455 §5.1, §5.2, §5.5), masking, and a limit on what is held. What they do
//! **not** do, and [`WebSocket`](super::WebSocket) does: answer a ping or a Close; refuse a continuation without a
//! start, or a start within a message; put fragments together; check that text is UTF-8; compress; end after a Close;
//! keep deadlines, rates and budgets; tell the peer what it did wrong. A peer can do all of that to whoever forgets it.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! # let uri = format!("ws://{}/", listener.local_addr()?);
//! # let client = tokio::spawn(async move {
//! #     let mut socket = taut::connect(&uri).await?;
//! #     socket.send("hello").await?;
//! #     assert_eq!(socket.recv().await?, Some("hello".into()));
//! #     socket.close(taut::proto::CloseCode::NORMAL, "").await
//! # });
//! # let (stream, _) = listener.accept().await?;
//! use taut::proto::frame::OpCode;
//! use taut::tokio::frames::{Frame, FrameReader, FrameWriter};
//!
//! // The handshake is that of any socket; what came behind it goes to the reader.
//! let (stream, connection) = taut::tokio::accept(stream).await?.into_parts();
//! let (read, write) = stream.into_split();
//! let mut reader = FrameReader::new(read, connection.role()).with_input(connection.unparsed());
//! let mut writer = FrameWriter::new(write, connection.role());
//! while let Some(frame) = reader.read().await? {
//!     match frame.opcode {
//!         OpCode::Ping => writer.write(&Frame::pong(frame.payload)).await?,
//!         OpCode::Pong => {}
//!         // The body as it came: a Close with the same code.
//!         OpCode::Close => {
//!             writer.write(&frame).await?;
//!             break;
//!         }
//!         OpCode::Text | OpCode::Binary | OpCode::Continuation => writer.write(&frame).await?,
//!     }
//! }
//! writer.shutdown().await?;
//! # assert!(client.await??.clean);
//! # Ok(()) }
//! ```

#![forbid(unsafe_code)]

mod frame;
mod reader;
mod writer;

pub use frame::Frame;
pub use reader::FrameReader;
pub use writer::FrameWriter;
