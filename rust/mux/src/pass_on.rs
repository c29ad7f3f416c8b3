//! For wrappers of a connection that leave its writing side as it is, or most of it, and for those
//! that are one of several kinds of connection.

/// Methods of an `AsyncWrite` that are those of a field, in an `impl` of it:
/// `pass_on!(inner: poll_flush, poll_shutdown);`.
#[macro_export]
macro_rules! pass_on {
    ($inner:ident: $($method:ident),+) => {
        $($crate::pass_on!(@$method $inner);)+
    };
    (@poll_write $inner:ident) => {
        fn poll_write(
            mut self: ::std::pin::Pin<&mut Self>,
            cx: &mut ::std::task::Context<'_>,
            buf: &[u8],
        ) -> ::std::task::Poll<::std::io::Result<usize>> {
            ::std::pin::Pin::new(&mut self.$inner).poll_write(cx, buf)
        }
    };
    (@poll_write_vectored $inner:ident) => {
        fn poll_write_vectored(
            mut self: ::std::pin::Pin<&mut Self>,
            cx: &mut ::std::task::Context<'_>,
            bufs: &[::std::io::IoSlice<'_>],
        ) -> ::std::task::Poll<::std::io::Result<usize>> {
            ::std::pin::Pin::new(&mut self.$inner).poll_write_vectored(cx, bufs)
        }
    };
    (@is_write_vectored $inner:ident) => {
        fn is_write_vectored(&self) -> bool {
            self.$inner.is_write_vectored()
        }
    };
    // `poll_flush` and `poll_shutdown` look the same.
    (@$method:ident $inner:ident) => {
        fn $method(
            mut self: ::std::pin::Pin<&mut Self>,
            cx: &mut ::std::task::Context<'_>,
        ) -> ::std::task::Poll<::std::io::Result<()>> {
            ::std::pin::Pin::new(&mut self.$inner).$method(cx)
        }
    };
}

/// `AsyncRead` and `AsyncWrite` of an enum whose variants hold a connection each:
/// `pass_on_each!(Road { Plain, Secure });`.
#[macro_export]
macro_rules! pass_on_each {
    ($name:ident { $($(#[$when:meta])* $variant:ident),+ $(,)? }) => {
        impl ::tokio::io::AsyncRead for $name {
            fn poll_read(
                self: ::std::pin::Pin<&mut Self>,
                cx: &mut ::std::task::Context<'_>,
                buf: &mut ::tokio::io::ReadBuf<'_>,
            ) -> ::std::task::Poll<::std::io::Result<()>> {
                match self.get_mut() {
                    $($(#[$when])* Self::$variant(io) => ::std::pin::Pin::new(io).poll_read(cx, buf),)+
                }
            }
        }

        impl ::tokio::io::AsyncWrite for $name {
            fn poll_write(
                self: ::std::pin::Pin<&mut Self>,
                cx: &mut ::std::task::Context<'_>,
                buf: &[u8],
            ) -> ::std::task::Poll<::std::io::Result<usize>> {
                match self.get_mut() {
                    $($(#[$when])* Self::$variant(io) => ::std::pin::Pin::new(io).poll_write(cx, buf),)+
                }
            }

            fn poll_write_vectored(
                self: ::std::pin::Pin<&mut Self>,
                cx: &mut ::std::task::Context<'_>,
                bufs: &[::std::io::IoSlice<'_>],
            ) -> ::std::task::Poll<::std::io::Result<usize>> {
                match self.get_mut() {
                    $($(#[$when])* Self::$variant(io) => {
                        ::std::pin::Pin::new(io).poll_write_vectored(cx, bufs)
                    })+
                }
            }

            fn is_write_vectored(&self) -> bool {
                match self {
                    $($(#[$when])* Self::$variant(io) => io.is_write_vectored(),)+
                }
            }

            fn poll_flush(
                self: ::std::pin::Pin<&mut Self>,
                cx: &mut ::std::task::Context<'_>,
            ) -> ::std::task::Poll<::std::io::Result<()>> {
                match self.get_mut() {
                    $($(#[$when])* Self::$variant(io) => ::std::pin::Pin::new(io).poll_flush(cx),)+
                }
            }

            fn poll_shutdown(
                self: ::std::pin::Pin<&mut Self>,
                cx: &mut ::std::task::Context<'_>,
            ) -> ::std::task::Poll<::std::io::Result<()>> {
                match self.get_mut() {
                    $($(#[$when])* Self::$variant(io) => ::std::pin::Pin::new(io).poll_shutdown(cx),)+
                }
            }
        }
    };
}
