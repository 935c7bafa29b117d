// <script src="https://votes.example/embed.js" data-clip="clip-1" async></script>
(() => {
  const me = document.currentScript;
  const server = new URL(me.src).origin;
  const { clip, token = '', challenge = '', title = 'Vote and comments' } = me.dataset;
  const frame = document.createElement('iframe');
  frame.src = `${server}/embed/${encodeURIComponent(clip)}#${new URLSearchParams({ token, challenge })}`;
  frame.title = title;
  frame.loading = 'lazy';
  Object.assign(frame.style, { border: 0, width: '100%', height: '320px', colorScheme: 'normal' });
  addEventListener('message', ({ origin, source, data }) => {
    if (origin === server && source === frame.contentWindow && data?.plaudit === clip) frame.style.height = `${Math.min(2000, Number(data.height) || 320)}px`;
  });
  me.after(frame);
})();
