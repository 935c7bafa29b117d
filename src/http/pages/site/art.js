// A picture for a clip without one: calm shapes that follow from its id.

const SVG = 'http://www.w3.org/2000/svg';

function shape(name, attributes) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

export function art(id) {
  let seed = 2166136261;
  for (const letter of id) seed = Math.imul(seed ^ letter.codePointAt(0), 16777619) >>> 0;
  const next = (below) => {
    seed = (Math.imul(seed ^ (seed >>> 15), 2246822519) + 374761393) >>> 0;
    return (seed >>> 8) % below;
  };
  const hue = next(360);
  const svg = shape('svg', { viewBox: '0 0 160 90', preserveAspectRatio: 'xMidYMid slice', 'aria-hidden': 'true' });
  svg.append(shape('rect', { width: 160, height: 90, fill: `hsl(${hue} 42% 30%)` }));
  svg.append(shape('circle', { cx: 30 + next(100), cy: 12 + next(30), r: 14 + next(14), fill: `hsl(${hue + 40} 70% 68%)`, opacity: 0.9 }));
  for (let at = 0; at < 3; at += 1) {
    const y = 44 + at * 13;
    const [a, b] = [y - 22 + next(30), y - 22 + next(30)];
    svg.append(shape('path', { d: `M0 ${y}C50 ${a} 100 ${b} 160 ${y - 6 + next(12)}V90H0Z`, fill: `hsl(${hue + at * 14} 45% ${26 - at * 6}%)` }));
  }
  return svg;
}
