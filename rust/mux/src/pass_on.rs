//! For wrappers of a connection that leave its writing side as it is, or most of it.

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
